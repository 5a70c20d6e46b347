"""Echoes across the stereo field: two delays side by side, a ping-pong, and a pattern of taps."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block, LinearBlock
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.dsp.spiral import Circle, filtered
from hitchain.blocks.effects.delay import note_length
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SHORTEST, LONGEST = 1.0, 1000.0
"""Delay times [ms]."""

_FEEDBACK = Parameter("feedback", 0.0, 0.8, default=0.35, description="share of an echo in the next one")
_TONE = Parameter("tone", 500.0, 18000.0, 5000.0, "Hz", "log", description="low-pass of each echo")


def _time(name: str, default: float, sync: str | None, tempo: float, what: str) -> Parameter:
    """A delay's time: free, or a tenth either way around a note's length."""
    if sync is None:
        return Parameter(name, SHORTEST, LONGEST, default, "ms", "log", what)
    length = note_length(sync, tempo)
    if not SHORTEST / 0.9 <= length <= LONGEST / 1.1:
        raise UserError(
            f"{name}: '{sync}' at {tempo:g} beats per minute is {length:.0f} ms; "
            f"the delay reaches {SHORTEST / 0.9:.0f} to {LONGEST / 1.1:.0f} ms."
        )
    return Parameter(name, 0.9 * length, 1.1 * length, length, "ms", "log", f"{what}; {sync} is {length:.4g}")


def _tangent(tone: Tensor, sample_rate: int) -> Tensor:
    return torch.tan(bounded_frequency(tone, sample_rate) * (math.pi / sample_rate))


def _ringing(time: Tensor, tone: Tensor, feedback: Tensor) -> float:
    """Seconds until echoes `time` [ms] apart have decayed by 90 dB, each with its low-pass's own decay."""
    number = -math.log(10.0**-4.5) / -torch.log(feedback.detach().double().clamp(1e-6, 1.0 - 1e-6))
    seconds = time.detach().double() / 1000.0 + 2.0 / tone.detach().double()
    return float(((number + 1.0) * seconds).max())


def _echo(circle: Circle, samples: Tensor, tangent: Tensor, feedback: Tensor) -> Tensor:
    """E / (1 - feedback E), E = e^{-j w samples} L: each (...) -> complex (..., bins)."""
    once = circle.delay(samples, tangent.dtype) * (circle.edge(tangent) * circle.low_pass(tangent.unsqueeze(-1)))
    return once / (1.0 - feedback.unsqueeze(-1) * once)


class _Echoes(LinearBlock):
    """What the linear ones have in common: their response is known on any circle."""

    parameters: ClassVar[tuple[Parameter, ...]] = ()

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        return filtered(audio, lambda circle: self.at(settings, circle), tail)

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        return self.at(settings, Circle(n_fft))

    @abstractmethod
    def at(self, settings: Settings, circle: Circle) -> Tensor:
        """Complex (batch, 2, bins)."""


@register("effects/stereo_delay")
class StereoDelay(_Echoes):
    """Two feedback delays, left and right, each with its own time.

        H(w) = cos(pi/2 mix) + sin(pi/2 mix) E / (1 - feedback E),  E = e^{-j w time} L(w)

    with L the first-order low-pass at `tone` (and nothing above 0.48 sample_rate); time is `time_left` on the left and
    `time_right` on the right.

    Args:
        sample_rate: [Hz].
        sync_left, sync_right: note values ("1/8", "1/8." dotted, "1/4t" triplet). The time knob then turns 10 % either
            way around that note's length; otherwise it is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        _time("time_left", 375.0, None, 120.0, "between echoes on the left"),
        _time("time_right", 500.0, None, 120.0, "between echoes on the right"),
        _FEEDBACK,
        _TONE,
        Parameter("mix", 0.0, 1.0, default=0.25, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "wide slap": {"time_left": 90.0, "time_right": 125.0, "feedback": 0.0, "tone": 7000.0, "mix": 0.22},
        "dotted against straight": {"time_left": 375.0, "time_right": 250.0, "feedback": 0.35, "mix": 0.25},
        "dark and long": {"time_left": 600.0, "time_right": 450.0, "feedback": 0.6, "tone": 1800.0, "mix": 0.3},
    }
    probe: ClassVar[dict[str, float]] = {"time_left": 12.0, "time_right": 17.0, "mix": 0.5}

    def __init__(
        self,
        sample_rate: int = 44100,
        sync_left: str | None = None,
        sync_right: str | None = None,
        tempo: float = 120.0,
    ) -> None:
        super().__init__(sample_rate)
        left = _time("time_left", 375.0, sync_left, tempo, "between echoes on the left")
        right = _time("time_right", 500.0, sync_right, tempo, "between echoes on the right")
        self.parameters = (left, right, *self.parameters[2:])  # type: ignore[misc]
        self.probe = {"mix": 0.5} | {p.name: 12.0 + 5.0 * i for i, p in enumerate((left, right)) if p.low < 12.0}  # type: ignore[misc]

    def at(self, settings: Settings, circle: Circle) -> Tensor:
        angle = settings["mix"][:, None, None] * (math.pi / 2.0)
        times = torch.stack([settings["time_left"], settings["time_right"]], dim=1).double()
        tangent = _tangent(settings["tone"], self.sample_rate)[:, None]
        samples = times * (self.sample_rate / 1000.0)
        return torch.cos(angle) + torch.sin(angle) * _echo(circle, samples, tangent, settings["feedback"][:, None])

    def tail(self, settings: Settings) -> float:
        longer = torch.maximum(settings["time_left"], settings["time_right"])
        return _ringing(longer, settings["tone"], settings["feedback"])


@register("effects/ping_pong")
class PingPong(Block):
    """Two delays that feed each other: echoes cross from side to side.

        l = E (u_l + feedback ((1 - cross) l + cross r)),  r likewise,  E = e^{-j w time} L(w)

    with L the first-order low-pass at `tone`. Sum and difference of the two are uncoupled, with feedback and with
    (1 - 2 cross) feedback, so that the two-by-two system is solved at the bins as two echoes. `spread` tells how the
    input enters: at 0 each side goes into its own delay; at 1 their sum into the left one, at equal power. Dry and
    echoes are mixed at equal power.

    Args:
        sample_rate: [Hz].
        sync: a note value, as for effects/delay.
        tempo: quarter notes per minute.
    """

    parameters = (
        _time("time", 375.0, None, 120.0, "between echoes"),
        Parameter("feedback", 0.0, 0.8, default=0.5, description="share of an echo in the next one"),
        Parameter("cross", 0.0, 1.0, default=1.0, description="of the feedback: 0 to its own side, 1 to the other"),
        Parameter("spread", 0.0, 1.0, default=1.0, description="0 input to its own side, 1 all to the left first"),
        _TONE,
        Parameter("mix", 0.0, 1.0, default=0.25, varying=True, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "eighths": {"time": 250.0, "feedback": 0.45, "mix": 0.25},
        "wide and dark": {"time": 500.0, "feedback": 0.6, "tone": 2000.0, "mix": 0.3},
        "half crossed": {"time": 180.0, "feedback": 0.5, "cross": 0.7, "spread": 0.6, "mix": 0.22},
    }
    probe: ClassVar[dict[str, float]] = {"time": 12.0, "cross": 0.8, "spread": 0.7, "mix": 0.5}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        if sync is not None:
            self.parameters = (_time("time", 375.0, sync, tempo, "between echoes"), *self.parameters[1:])  # type: ignore[misc]
            self.probe = {key: value for key, value in self.probe.items() if key != "time"}  # type: ignore[misc]

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        left, right = audio[:, :1], audio[:, -1:]
        spread = settings["spread"][:, None, None]
        middle, side = 0.5 * (left + right), 0.5 * (left - right)
        entering = torch.cat([middle, spread * middle + (1.0 - spread) * side], dim=1)
        entering = entering * torch.rsqrt(1.0 + spread.square())
        tail = math.ceil(self.tail(settings) * self.sample_rate)
        echoes = filtered(entering, lambda circle: self._response(settings, circle), tail)
        middle, side = echoes[:, :1], echoes[:, 1:]
        angle = over_audio(settings["mix"], audio.shape[-1]) * (math.pi / 2.0)
        return torch.cos(angle) * audio + torch.sin(angle) * torch.cat([middle + side, middle - side], dim=1)

    def _response(self, settings: Settings, circle: Circle) -> Tensor:
        """Of the sum and of the difference: complex (batch, 2, bins)."""
        feedback, cross = settings["feedback"], settings["cross"]
        samples = settings["time"].double() * (self.sample_rate / 1000.0)
        tangent = _tangent(settings["tone"], self.sample_rate)
        once = circle.delay(samples, tangent.dtype) * (circle.edge(tangent) * circle.low_pass(tangent[:, None]))
        both = torch.stack([feedback, feedback * (1.0 - 2.0 * cross)], dim=1)
        return once[:, None] / (1.0 - both[..., None] * once[:, None])

    def tail(self, settings: Settings) -> float:
        return _ringing(settings["time"], settings["tone"], settings["feedback"])


@register("effects/multitap_delay")
class MultitapDelay(_Echoes):
    """A pattern of echoes that repeats: taps k = 1 .. K at t_k = time (k / K)^skew, panned in turn.

        H(w) = dry + wet sum_k g_k(side) e^{-j w t_k} L / (1 - feedback e^{-j w time} L)

    with L the first-order low-pass at `tone`, and g_k = 10^(slope (k - 1) / 20) (1 +- spread) / sqrt(K (1 + spread^2)),
    plus on one side and minus on the other, in turn. Dry and echoes are mixed at equal power.

    Args:
        sample_rate: [Hz].
        taps: 2 to 8.
        sync: a note value that the whole pattern lasts, as for effects/delay.
        tempo: quarter notes per minute.
    """

    parameters = (
        _time("time", 500.0, None, 120.0, "of the whole pattern"),
        Parameter("skew", 0.5, 2.0, default=1.0, scale="log", description="below 1 taps crowd late, above 1 early"),
        Parameter("slope", -12.0, 3.0, default=-2.0, unit="dB", description="level from one tap to the next"),
        Parameter("spread", 0.0, 1.0, default=0.7, description="taps in turn left and right"),
        _FEEDBACK,
        _TONE,
        Parameter("mix", 0.0, 1.0, default=0.3, description="0 dry, 1 echoes only"),
    )
    presets: ClassVar = {
        "gallop": {"time": 500.0, "skew": 0.7, "feedback": 0.3, "mix": 0.28},
        "cascade": {"time": 800.0, "skew": 1.5, "slope": -3.0, "spread": 1.0, "feedback": 0.4, "mix": 0.3},
        "doubler": {"time": 90.0, "skew": 1.2, "slope": -1.0, "feedback": 0.0, "tone": 9000.0, "mix": 0.25},
    }
    probe: ClassVar[dict[str, float]] = {"time": 20.0, "mix": 0.5}

    def __init__(self, sample_rate: int = 44100, taps: int = 4, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        if not (isinstance(taps, int) and 2 <= taps <= 8):
            raise UserError(f"taps={taps} is not to be had; effects/multitap_delay has 2 to 8.")
        self.taps = taps
        if sync is not None:
            self.parameters = (_time("time", 500.0, sync, tempo, "of the whole pattern"), *self.parameters[1:])  # type: ignore[misc]
            self.probe = {"mix": 0.5}  # type: ignore[misc]

    def at(self, settings: Settings, circle: Circle) -> Tensor:
        angle = settings["mix"] * (math.pi / 2.0)
        samples = settings["time"].double() * (self.sample_rate / 1000.0)
        low_pass = circle.edge(angle) * circle.low_pass(_tangent(settings["tone"], self.sample_rate)[:, None])
        pattern = self._pattern(settings, samples, circle)
        again = settings["feedback"][:, None] * low_pass * circle.delay(samples, angle.dtype)
        wet = (torch.sin(angle)[:, None] * low_pass / (1.0 - again))[:, None]
        return torch.cos(angle)[:, None, None] + wet * pattern

    def _pattern(self, settings: Settings, samples: Tensor, circle: Circle) -> Tensor:
        """One pass of the taps, for each side: complex (batch, 2, bins)."""
        index = torch.arange(1, self.taps + 1, dtype=torch.float64, device=samples.device)
        times = samples[:, None] * (index / self.taps) ** settings["skew"].double()[:, None]
        spread, turn = settings["spread"][:, None], (1.0 - 2.0 * (torch.arange(self.taps) % 2)).to(settings["spread"])
        level = torch.exp(settings["slope"][:, None] * (math.log(10.0) / 20.0) * (index - 1.0).to(turn))
        level = level * torch.rsqrt(self.taps * (1.0 + spread.square()))
        gains = torch.stack([level * (1.0 + spread * turn), level * (1.0 - spread * turn)], dim=1)
        delayed = circle.delay(times, spread.dtype)
        return torch.einsum("bct,btn->bcn", gains.to(delayed.dtype), delayed)

    def tail(self, settings: Settings) -> float:
        return _ringing(settings["time"], settings["tone"], settings["feedback"])
