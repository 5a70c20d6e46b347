"""Turning the knobs of a block through time: a modulator, and the block it is attached to.

In a config, modulators stand inside the block they turn:

    amp: {block: amps/tube, modulators: {swell: {block: modulators/lfo, target: drive, rate: 0.5, amount: 0.3}}}

and their parameters are that block's: `lead.amp.swell.rate`. A modulator moves the knob's position u (0 to 1, through
the declared scale) by `amount` times its control signal; several on one knob add up; u stops at the ends.

A parameter that may vary (`Parameter.varying`) is given its values through time. Any other knob is turned by playing
the block with the knob at fixed steps and cross-fading between the two steps nearest to where it stands.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import Block, Instrument, NoteBlock
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.nesting import inner_settings, make, outer_parameters
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import ONSETS, RESERVED, START, Choice, Parameter, Settings
from hitchain.errors import UserError, nearest

HOP = 64
"""Samples from one value of a control signal to the next; between them it is interpolated."""

STEPS = 16
"""Steps of a knob's travel between which a block that cannot follow it is cross-faded."""

MOST_RENDERINGS = 100

AMOUNT = Parameter(
    "amount", -1.0, 1.0, default=0.25, description="how far it turns the knob, as a share of its travel; below 0 back"
)


class Cue(NamedTuple):
    """What a modulator may follow.

    times: (frames,), float64: the moments at which its control is wanted [s into the song].
    audio: (batch, channels, samples) entering the block; None before an instrument.
    onsets: (batch, notes) of the track's notes, in the same seconds; inf where there is none. None where unknown.
    """

    times: Tensor
    audio: Tensor | None
    onsets: Tensor | None


class Modulator(Block):
    """A control signal for one knob of another block.

    A subclass gives `control`: -1 to 1 (or 0 to 1), where 0 leaves the knob where it stands. It declares `AMOUNT` among
    its parameters; the amount is applied for it.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (AMOUNT,)

    @abstractmethod
    def control(self, cue: Cue, settings: Settings) -> Tensor:
        """(batch, frames), differentiable in the settings."""


class Attached(NamedTuple):
    """A modulator, by its name in the config, and the parameter it turns."""

    name: str
    modulator: Modulator
    target: Parameter


class _Modulated(Block):
    """A block with modulators on its knobs."""

    open_parameters = True
    follows_notes = True

    def __init__(self, inner: Block, attached: Sequence[Attached], knobs: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(inner.sample_rate)
        self.inner = inner
        self.attached = list(attached)
        self.modulators = torch.nn.ModuleList(item.modulator for item in attached)  # so that they move with the block
        self.name = inner.name  # type: ignore[misc]
        self.probe = inner.probe  # type: ignore[misc]
        self.takes_sidechain = inner.takes_sidechain  # type: ignore[misc]
        outer = [outer_parameters(item.name, item.modulator, knobs[item.name], item.name) for item in attached]
        self.parameters = (*inner.parameters, *(parameter for group in outer for parameter in group))  # type: ignore[misc]

    @property
    def latency(self) -> int:
        return self.inner.latency

    def tail(self, settings: Settings) -> float:
        return self.inner.tail(self._own(settings))

    def _own(self, settings: Settings) -> dict[str, Tensor]:
        names = {parameter.name for parameter in self.inner.parameters}
        return {key: value for key, value in settings.items() if key in names or key in RESERVED}

    def _run(self, source: Any, samples: int, audio: Tensor | None, settings: Settings) -> Tensor:
        own = self._own(settings)
        still: list[tuple[Parameter, Tensor]] = []
        for target, position in self._positions(samples, audio, settings).items():
            if target.varying:
                own[target.name] = target.from_unit(position)
            else:
                still.append((target, position))
        self._check_cost(still)
        return self._crossfaded(source, samples, own, still)

    def _positions(self, samples: int, audio: Tensor | None, settings: Settings) -> dict[Parameter, Tensor]:
        """Where each turned knob stands through time: (batch, frames) in [0, 1]."""
        begin = float(settings[START]) if START in settings else 0.0
        frames = samples // HOP + 2
        times = torch.linspace(0.0, max(samples - 1, 0) / self.sample_rate, frames, dtype=torch.float64) + begin
        onsets = settings[ONSETS] + begin if ONSETS in settings else None
        moves: dict[Parameter, Tensor] = {}
        for name, modulator, target in self.attached:
            inner = inner_settings(name, settings)
            device = inner["amount"].device
            control = modulator.control(Cue(times.to(device), audio, onsets), inner)
            move = inner["amount"].unsqueeze(-1) * control
            moves[target] = moves[target] + move if target in moves else move
        base = {target: over_audio(target.to_unit(settings[target.name]), frames)[:, 0] for target in moves}
        return {target: (base[target] + move).clamp(0.0, 1.0) for target, move in moves.items()}

    def _check_cost(self, still: Sequence[tuple[Parameter, Tensor]]) -> None:
        cost = 1
        for _, position in still:
            low, high = _touched(position)
            cost *= high - low + 1
        if cost > MOST_RENDERINGS:
            names = ", ".join(target.name for target, _ in still)
            raise UserError(
                f"block '{self.name}': turning {names} together would take {cost} renderings of it (at most "
                f"{MOST_RENDERINGS}); turn them by a smaller amount, or one of them."
            )

    def _crossfaded(
        self, source: Any, samples: int, own: dict[str, Tensor], still: Sequence[tuple[Parameter, Tensor]]
    ) -> Tensor:
        if not still:
            return torch.as_tensor(self.inner(source, own))
        (target, position), *others = still
        steps = over_audio(position, samples) * STEPS
        low, high = _touched(position)

        def part(step: int) -> Tensor:
            value = target.from_unit(torch.full_like(own[target.name], step / STEPS))
            share = (1.0 - (steps - step).abs()).clamp_min(0.0)
            return share * self._crossfaded(source, samples, {**own, target.name: value}, others)

        return reduce(torch.add, map(part, range(low, high + 1)))  # added up as they come: one is held at a time


def _touched(position: Tensor) -> tuple[int, int]:
    """The steps between which a knob moves, for any candidate."""
    reached = position.detach() * STEPS
    return math.floor(float(reached.min())), math.ceil(float(reached.max()))


class ModulatedBlock(_Modulated):
    """An audio block with modulators on its knobs."""

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        return self._run(audio, audio.shape[-1], audio, settings)


class ModulatedInstrument(_Modulated, Instrument):
    """An instrument with modulators on its knobs. Its notes are what they follow."""

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        onsets = torch.where(notes.mask > 0, notes.onset, math.inf)
        return self._run(notes, round(notes.length * self.sample_rate), None, {**settings, ONSETS: onsets})


def modulated(
    block: Block, entries: Any, where: str, sample_rate: int, context: Mapping[str, Any] | None = None
) -> Block:
    """A block with the modulators of its config attached. Raises `UserError` where one is wrong or turns no knob."""
    if not isinstance(entries, Mapping):
        raise UserError(f"{where}.modulators should name modulators, for example lfo: {{block: modulators/lfo, ...}}.")
    if isinstance(block, NoteBlock):
        raise UserError(f"{where}.modulators: block '{block.name}' works on notes; it has no knobs through time.")
    attached, knobs = [], {}
    for name, entry in entries.items():
        path = f"{where}.modulators.{name}"
        if not isinstance(entry, Mapping) or not str(name).isidentifier():
            raise UserError(f"{path} should be a modulator: a block and its target.")
        modulator, values = make(
            {key: value for key, value in entry.items() if key != "target"}, path, sample_rate, context
        )
        if not isinstance(modulator, Modulator):
            raise UserError(f"{path}: block '{modulator.name}' is no modulator; see `hitchain blocks`.")
        attached.append(Attached(str(name), modulator, _target(block, entry.get("target"), path)))
        knobs[str(name)] = values
    kind = ModulatedInstrument if isinstance(block, Instrument) else ModulatedBlock
    return kind(block, attached, knobs)


def _target(block: Block, target: Any, where: str) -> Parameter:
    known = {item.name: item for item in block.parameters if isinstance(item, Parameter) and not item.per_note}
    if target not in known:
        raise UserError(f"{where}.target={target!r} is no knob of block '{block.name}'; {nearest(str(target), known)}")
    return known[target]
