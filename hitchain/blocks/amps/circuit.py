"""What the circuit amplifiers share: rows of triodes around a tone stack, and a push-pull power stage behind them.

    input network -> triodes -> tone stack -> triodes -> power stage on its supply -> transformer and loudspeaker

A stage amplifies, inverts and clips around its operating point, v = f(b - g x) - f(b), with f from `waveshaping`; after
it come the coupling capacitor and the next grid's Miller capacitance (`circuits.coupling`). The power stage and its
supply are those of `amps/tube`. Gaussian noise at -18 dBFS leaves as loud as it came at any gain.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.amps import tube
from hitchain.blocks.dsp import circuits, resampling, waveshaping
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.oversampling import to_samples, to_spectrum
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.parameter import Choice, Parameter, Settings

Rational = tuple[Tensor, Tensor]
"""Numerator and denominator of a transfer function, as `circuits.rational` takes them."""

BASS = Parameter("bass", 0.0, 1.0, default=0.5, description="tone stack: bass")
MIDDLE = Parameter("middle", 0.0, 1.0, default=0.5, description="tone stack: middle")
TREBLE = Parameter("treble", 0.0, 1.0, default=0.5, description="tone stack: treble")
BIAS = Parameter("bias", -1.0, 1.0, default=0.0, description="shifts every triode's operating point")
SAG = Parameter("sag", 0.0, 1.0, default=0.4, description="how far loud playing pulls the supply down")
LEVEL = Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level")
PRESENCE = Parameter("presence", 0.0, 1.0, default=0.4, description="treble lift by less feedback")


def master(default: float) -> Parameter:
    """How hard the power valves are driven."""
    return Parameter("master", -12.0, 24.0, default=default, unit="dB", description="drive of the power stage")


class Stage(NamedTuple):
    """A triode and the coupling to the next.

    gain: fixed, over what the gain control adds [dB]. share: of the gain control [dB] that falls to it.
    bias: its operating point; a cold one clips one side early. low, high: corners of the coupling behind it [Hz].
    """

    gain: float
    share: float
    bias: float = 0.2
    low: float = 10.0
    high: float = 12_000.0
    upper: float = tube.UPPER
    lower: float = tube.LOWER


class Circuit(NamedTuple):
    """An amplifier's fixed parts.

    before, after: the stages around the tone stack. transformer: corners of the output transformer [Hz].
    presence: its corner [Hz] and the factor by which it lifts at most, less 1. supply: attack and release [s].
    """

    before: tuple[Stage, ...]
    after: tuple[Stage, ...]
    transformer: tuple[float, float] = (30.0, 12_000.0)
    presence: tuple[float, float] = (2000.0, 1.5)
    supply: tuple[float, float] = (0.03, 0.15)


class CircuitAmplifier(tube.Tube):
    """A subclass declares its circuit and knobs (`gain`, `bias`, `master`, `sag` and `level` among them), and gives the
    networks around its valves."""

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()  # type: ignore[assignment]
    circuit: ClassVar[Circuit]

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate, oversampling)
        self.stack_makeup = self._makeup()

    def _input(self, settings: Settings) -> Rational:
        """Before the first triode, order up to 3."""
        raise NotImplementedError

    def _tone(self, settings: Settings) -> Rational:
        """The tone stack."""
        raise NotImplementedError

    def _voicing(self, settings: Settings) -> Rational:
        """From the power stage to the loudspeaker, order up to 3; by default the presence control."""
        return shelf(settings["presence"], *self.circuit.presence)

    def _amplify(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, factor = audio.shape[-1], self.oversampling
        n_fft = fast_length(tube.LEAD + samples + resampling.PADDING + round(tube.TAIL * self.sample_rate))
        spacing = self.sample_rate / n_fft
        first, between, last = _fixed(self.circuit, n_fft, self.sample_rate, factor, audio.dtype, audio.device)
        gain_before, gain_after = self._gains(settings)

        padded = torch.nn.functional.pad(audio, (tube.LEAD, n_fft - samples - tube.LEAD))
        spectrum = through(to_spectrum(padded, n_fft, 1), self._input(settings), first, spacing)
        level = self._stages(to_samples(spectrum, n_fft, factor), self.circuit.before, settings)
        numerator, denominator = self._tone(settings)
        tone = numerator * (self.stack_makeup / gain_before)[:, None], denominator
        spectrum = through(to_spectrum(level, n_fft, factor), tone, between, spacing)
        level = self._stages(to_samples(spectrum, n_fft, factor), self.circuit.after, settings)
        level = self._power(level * (to_gain(settings["master"]) / gain_after)[:, None, None], settings)
        numerator, denominator = self._voicing(settings)
        gain = to_gain(settings["level"] - settings["master"]) * tube._power_makeup(settings)
        out = numerator * gain[:, None], denominator
        spectrum = through(to_spectrum(level, n_fft, factor), out, last, spacing)
        return to_samples(spectrum, n_fft, 1)[..., tube.LEAD : tube.LEAD + samples]

    def _stages(self, level: Tensor, stages: tuple[Stage, ...], settings: Settings) -> Tensor:
        rate = self.sample_rate * self.oversampling
        for stage in stages:
            gain, bias = operating(stage, settings)
            level = waveshaping.clip_mean(level, -gain, bias, stage.upper, stage.lower)
            level = circuits.coupling(level, stage.low, stage.high, rate)
        return level

    def _gains(self, settings: Settings) -> tuple[Tensor, Tensor]:
        """By how much the triodes before and after the tone stack raise noise at the nominal level, each (batch,)."""
        gains = []
        for stages in (self.circuit.before, self.circuit.after):
            level = tube._noise(settings["gain"])
            for stage in stages:
                gain, bias = (value[:, None] for value in operating(stage, settings))
                level = waveshaping.clip(bias - gain * level, stage.upper, stage.lower)
                level = level - level.mean(dim=-1, keepdim=True)  # the coupling capacitor
            gains.append(level.expand(len(settings["gain"]), -1).std(dim=-1, correction=0) / tube.NOMINAL)
        return gains[0], gains[1]

    def _current(self, load: Tensor) -> Tensor:
        rate = self.sample_rate / self._frame()
        attack, release = (1.0 - math.exp(-1.0 / (time * rate)) for time in self.circuit.supply)
        return torch.nn.functional.pad(ballistics(load / (1.0 + load), attack, release), (1, 0))

    def _makeup(self) -> float:
        """The gain that lets pink noise, 80 Hz to 5 kHz, through the networks at unity, their knobs at default."""
        hertz = torch.logspace(math.log10(80.0), math.log10(5000.0), 100, dtype=torch.float64)
        settings = self.defaults(1, torch.float64)
        response = circuits.rational(*self._tone(settings), hertz) * circuits.rational(*self._input(settings), hertz)
        return float(response.abs().square().mean().rsqrt())


def operating(stage: Stage, settings: Settings) -> tuple[Tensor, Tensor]:
    """A stage's gain, a ratio, and its operating point, each (batch,)."""
    return to_gain(stage.gain + stage.share * settings["gain"]), stage.bias + 0.5 * settings["bias"]


def through(spectrum: Tensor, network: Rational, constant: Tensor, spacing: float) -> Tensor:
    """A spectrum through a network of any order and a constant response."""
    if network[0].shape[-1] <= 4:
        return circuits.filter_spectrum(spectrum, *network, constant, spacing)
    hertz = spacing * torch.arange(spectrum.shape[-1], dtype=network[0].dtype, device=spectrum.device)
    return spectrum * (constant * circuits.rational(*network, hertz)).unsqueeze(1)


def cascade(*networks: Rational) -> Rational:
    """Networks in series that do not load each other: products of their polynomials."""
    numerator, denominator = networks[0]
    for other in networks[1:]:
        numerator, denominator = _product(numerator, other[0]), _product(denominator, other[1])
    return numerator, denominator


def _product(one: Tensor, other: Tensor) -> Tensor:
    size = one.shape[-1] + other.shape[-1] - 1
    shifted = [
        torch.nn.functional.pad(one * other[:, k : k + 1], (k, size - one.shape[-1] - k))
        for k in range(other.shape[-1])
    ]
    return torch.stack(shifted).sum(dim=0)


def first_order(
    n0: Tensor | float, n1: Tensor | float, d0: Tensor | float, d1: Tensor | float, like: Tensor
) -> Rational:
    """(n0 + n1 s) / (d0 + d1 s), s in radians per millisecond, each a number or (batch,)."""
    values = [
        torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(len(like)) for value in (n0, n1, d0, d1)
    ]
    return torch.stack(values[:2], -1), torch.stack(values[2:], -1)


def shelf(amount: Tensor, corner: float, most: float) -> Rational:
    """1 + most amount s / (w + s): lifts what is above the corner [Hz] by the factor 1 + most at most."""
    w = 2.0 * math.pi * corner / 1e3
    return first_order(w, 1.0 + most * amount, w, 1.0, amount)


def resonant(hertz: Tensor | float, quality: float, gain: Tensor) -> Rational:
    """(w^2 + A w s / Q + s^2) / (w^2 + w s / (A Q) + s^2), A the root of the gain at the resonance, (batch,)."""
    w, root = 2.0 * math.pi / 1e3 * hertz, gain.sqrt()
    one, square = torch.ones_like(gain), torch.as_tensor(w * w, dtype=gain.dtype, device=gain.device).expand(len(gain))
    numerator = torch.stack([square, root * w / quality, one], dim=-1)
    return numerator, torch.stack([square, w / (quality * root), one], dim=-1)


def high_pass(corner: Tensor | float, like: Tensor) -> Rational:
    """s / (w + s)."""
    return first_order(0.0, 1.0, 2.0 * math.pi / 1e3 * corner, 1.0, like)


def cathode(resistor: float, capacitor: float, like: Tensor, internal: float = 1.6e3) -> Rational:
    """What a bypassed cathode resistor does to a triode's gain: (1 + s R C) / (1 + R / r + s R C), r what the cathode
    presents, (plate load + anode resistance) / (mu + 1), 1.6 kohm for a 12AX7 with 100 kohm (M. Blencowe, "Designing
    Tube Preamps for Guitar and Bass", 2009, chapter 1)."""
    time = 1e3 * resistor * capacitor
    return first_order(1.0, time, 1.0 + resistor / internal, time, like)


def bright(position: Tensor, ohms: float, capacitor: float) -> Rational:
    """A capacitor across the upper part of a volume control: a (1 + s C (1 - a) R) / (1 + s C a (1 - a) R), without the
    factor a."""
    time = 1e3 * capacitor * ohms * (1.0 - position)
    return first_order(1.0, time, 1.0, position * time, position)


@lru_cache(maxsize=16)
def _fixed(
    circuit: Circuit, n_fft: int, sample_rate: int, factor: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What no knob moves, complex (bins,): before the triodes, at the tone stack, and behind the power stage; as in
    `amps/tube`, with the antialiased stages' delay and droop undone."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        like = torch.zeros((), dtype=torch.float64, device=device)
        edge = resampling.edge(n_fft, like)
        counts = (len(circuit.before), len(circuit.after) + 1)
        one, two = (waveshaping.mean_inverse(n_fft, factor, count, like) for count in counts)
        ratio_low, ratio_high = (frequencies(n_fft, sample_rate, like) / f for f in circuit.transformer)
        transformer = torch.complex(ratio_low**2, ratio_low) / (1.0 + ratio_low**2) / (1.0 + 1j * ratio_high)
        sign = (-1.0) ** (len(circuit.before) + len(circuit.after))
        parts = edge * factor + 0j, one * edge**2, sign * transformer * two * (edge / factor)
        return parts[0].to(dtype.to_complex()), parts[1].to(dtype.to_complex()), parts[2].to(dtype.to_complex())
