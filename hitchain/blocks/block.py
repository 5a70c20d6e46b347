"""What a block is: a stateless processor with declared parameters, and its kinds.

Block        audio  -> audio
LinearBlock  audio  -> audio, time-invariant: known by its frequency response, fused with its neighbours
Instrument   notes  -> audio
NoteBlock    notes  -> notes
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hitchain.blocks.dsp import linear
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import RESERVED, Choice, Parameter, Settings
from hitchain.errors import UserError, nearest


class Block(nn.Module):
    """One processor of one stage. Stateless: captured weights are buffers, parameter values come in with each call.

    A subclass declares `parameters`, is registered with `@register("stage/name")` and writes `forward`. Whatever else
    its constructor takes after the sample rate is an option of its config. A constructor that takes `tempo` is given
    the song's tempo [beats per minute]. It works in float32 and float64, follows the dtype and device of what comes in,
    and treats batch items independently.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()  # type: ignore[assignment]  # shadows nn.Module.parameters(): a block has no weights to train
    name: ClassVar[str] = ""
    presets: ClassVar[Mapping[str, Mapping[str, float | str]]] = {}
    """Named settings: {name: {parameter: value}}; what a preset does not name stays at its default."""
    open_parameters: ClassVar[bool] = False
    """Whether its parameters depend on its options (a rack's, a plugin's): then the instance declares them."""
    takes_sidechain: ClassVar[bool] = False
    """Whether it listens to another track, given as `settings["sidechain"]` where one is chosen."""
    follows_notes: ClassVar[bool] = False
    """Whether it is told when the track's notes begin, as `settings["onsets"]`."""
    probe: ClassVar[dict[str, Any]] = {}
    """Values other than the defaults (of a choice: weights) at which every parameter can be heard: where gradients are
    certified."""

    def __init__(self, sample_rate: int = 44100) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """Audio (batch, channels, samples) -> audio (batch, channels or 2, samples)."""
        raise NotImplementedError

    @property
    def latency(self) -> int:
        """Samples by which the output is late. The chain shifts it back. Blocks that look ahead need none."""
        return 0

    def tail(self, settings: Settings) -> float:
        """Seconds for which the block may sound after its input has ended (to about -90 dB)."""
        return 0.0

    def defaults(self, batch: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The settings of the untouched block: (batch,) for each parameter, (batch, options) for each choice."""
        settings: dict[str, Tensor] = {}
        for parameter in self.parameters:
            if isinstance(parameter, Choice):
                settings[parameter.name] = parameter.weights(parameter.default).to(dtype).repeat(batch, 1)
            else:
                settings[parameter.name] = torch.full((batch,), parameter.default, dtype=dtype)
        return settings

    def preset(self, name: str) -> Mapping[str, float | str]:
        """The values of a named preset. Raises `UserError` naming the nearest where there is none."""
        if name not in self.presets:
            raise UserError(f"block '{self.name}' has no preset '{name}'; {nearest(name, self.presets)}")
        return self.presets[name]

    def check(self, settings: Settings) -> None:
        """Raise `UserError` where a parameter is unknown, missing, of a wrong shape, out of range or not finite."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for key in settings:
            if key not in known and key not in RESERVED:
                raise UserError(f"block '{self.name}' has no parameter '{key}'; {nearest(key, known)}")
        for key, parameter in known.items():
            if key not in settings:
                raise UserError(f"block '{self.name}' needs a value for '{key}' ({parameter.range}).")
            _check_tensor(parameter, settings[key], f"{self.name}: {key}")

    def extra_repr(self) -> str:
        return ", ".join(f"{parameter.name}: {parameter.range}" for parameter in self.parameters)


def _check_tensor(parameter: Parameter | Choice, value: Tensor, where: str) -> None:
    if isinstance(parameter, Choice):
        if value.ndim not in ((2, 3) if parameter.per_note else (2,)) or value.shape[-1] != len(parameter.options):
            raise UserError(
                f"{where} needs weights of shape (batch, {len(parameter.options)}), not {tuple(value.shape)}."
            )
        return
    if (value.ndim == 2 and not (parameter.per_note or parameter.varying)) or value.ndim not in (1, 2):
        raise UserError(f"{where} needs a tensor of shape (batch,), not {tuple(value.shape)}.")
    slack = 1e-5 * (parameter.high - parameter.low)  # float32 rounding at the ends of the range
    if not bool(((value >= parameter.low - slack) & (value <= parameter.high + slack)).all()):
        raise UserError(f"{where} must be within {parameter.range}.")


class LinearBlock(Block):
    """A time-invariant block, known by its frequency response.

    The chain multiplies the responses of neighbouring linear blocks and pays for one FFT pair. Sampling a response in
    frequency wraps what rings longer than the transform around to the start, so `tail` must tell how long it rings.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()

    @abstractmethod
    def response(self, settings: Settings, n_fft: int) -> Tensor:
        """Complex (batch, channels, n_fft // 2 + 1): the transfer function at the bins of a real FFT.

        channels is 1 (the same for every channel) or 2 (left, right; a mono input becomes stereo). A response that is
        the same at every frequency may have a single bin.
        """

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return linear.apply_responses(audio, [self.as_response(settings)])

    def as_response(self, settings: Settings) -> linear.Response:
        """The block at these settings, as a filter that may be fused with others."""
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        return linear.Response(partial(self.response, settings), tail)


class Instrument(Block):
    """Notes -> audio (batch, 1 or 2, round(notes.length * sample_rate)).

    A note's phase and envelope depend only on the time since its onset, so a window of a song (in which onsets may be
    negative) is the same audio as that stretch of the whole. `tail` is how long a note may sound after its end.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        raise NotImplementedError


class NoteBlock(Block):
    """Notes -> notes."""

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()

    def forward(self, notes: Notes, settings: Settings) -> Notes:  # type: ignore[override]
        raise NotImplementedError
