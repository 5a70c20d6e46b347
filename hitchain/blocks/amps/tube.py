"""A valve guitar amplifier: two triodes, a tone stack, and a push-pull power stage on a supply that gives way."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import circuits, resampling, waveshaping
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.recursion import ballistics
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

UPPER, LOWER = 0.8, 1.2
"""The triodes' ceilings: grid conduction sets in before cut-off does."""

COUPLING_LOW, COUPLING_HIGH = 20.0, 9000.0
"""Corners between the triodes [Hz]: coupling capacitor and grid leak; Miller capacitance and grid stopper."""

TRANSFORMER_LOW, TRANSFORMER_HIGH = 30.0, 12000.0
"""Corners of the output transformer [Hz]."""

PRESENCE_CORNER, PRESENCE_GAIN = 2500.0, 2.0
"""The presence control lifts what is above the corner [Hz], at most by the factor 1 + gain (9.5 dB)."""

SAG_ATTACK, SAG_RELEASE = 0.03, 0.15
"""Time constants of the power supply's voltage [s]: it falls faster than it comes back."""

TAIL = 0.25
"""Seconds in which the amplifier's slowest circuit, the bass control's, has died away."""

LEAD = resampling.PADDING // 2
"""Samples of silence put before the signal, for what oversampling rings ahead of its first sample."""


@register("amps/tube")
class Tube(Block):
    """A valve guitar amplifier, oversampled.

        high-pass "tight" -> triode -> coupling -> triode -> tone stack -> power stage -> transformer and presence

    Each triode amplifies by half the drive, inverts, and clips softly and unevenly around its bias:
    v = -(f(g x + b) - f(b)), f from `waveshaping` with the ceilings 0.8 and 1.2. The tone stack is the 1959 Bassman's
    (`circuits.tone_stack`). The power stage clips evenly, at a headroom that the supply sets:

        y = f(k u) / k,     k[t] = 1 + sag * i[t],     i = ballistics(|u| / (1 + |u|), 30 ms, 150 ms)

    so that a loud note pulls the ceiling down, by up to 6 dB, and the amplifier swells back as it fades. Gaussian noise
    at -18 dBFS leaves as loud as it came at any drive and master: the static curves' gain is worked out and undone.

    Input is guitar-like at around -18 dBFS RMS. DC is blocked. A stereo signal has two preamplifiers on one supply.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run, from 1 up; by default what takes them to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("drive", 0.0, 60.0, default=24.0, unit="dB", description="preamplifier gain: clean to saturated"),
        Parameter("tight", 20.0, 500.0, default=60.0, unit="Hz", scale="log", description="bass cut before the valves"),
        Parameter("bias", -1.0, 1.0, default=0.3, description="operating point: blends even and odd harmonics"),
        Parameter("bass", 0.0, 1.0, default=0.5, description="tone stack: bass"),
        Parameter("middle", 0.0, 1.0, default=0.5, description="tone stack: middle"),
        Parameter("treble", 0.0, 1.0, default=0.5, description="tone stack: treble"),
        Parameter("presence", 0.0, 1.0, default=0.3, description="lift above 2.5 kHz after the power stage"),
        Parameter("master", -12.0, 24.0, default=6.0, unit="dB", description="drive of the power stage"),
        Parameter("sag", 0.0, 1.0, default=0.4, description="how far loud playing pulls the supply down"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or min(8, math.ceil(160_000 / sample_rate))
        self.stack_makeup = _stack_makeup()

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, factor = audio.shape[-1], self.oversampling
        n_fft = fast_length(LEAD + samples + resampling.PADDING + round(TAIL * self.sample_rate))
        hertz = frequencies(n_fft, self.sample_rate, like=audio)

        padded = torch.nn.functional.pad(audio, (LEAD, n_fft - samples - LEAD))
        spectrum = torch.fft.rfft(padded) * _high_pass(hertz, settings["tight"][:, None, None])
        level = self._preamplifier(resampling.interpolate(spectrum, n_fft, factor), settings)
        spectrum = resampling.decimate(level, n_fft, factor) * self._stack(hertz, n_fft, settings)
        level = self._power(resampling.interpolate(spectrum, n_fft, factor), settings)
        spectrum = resampling.decimate(level, n_fft, factor) * self._output(hertz, n_fft, settings)
        result: Tensor = torch.fft.irfft(spectrum, n=n_fft)[..., LEAD : LEAD + samples]
        return result

    def _preamplifier(self, level: Tensor, settings: Settings) -> Tensor:
        gain, bias, rate = to_gain(0.5 * settings["drive"]), settings["bias"], self.sample_rate * self.oversampling
        level = waveshaping.clip_mean(level, gain, bias, UPPER, LOWER)
        level = circuits.coupling(level, COUPLING_LOW, COUPLING_HIGH, rate)
        return waveshaping.clip_mean(level, -gain, bias, UPPER, LOWER)

    def _stack(self, hertz: Tensor, n_fft: int, settings: Settings) -> Tensor:
        """From the second triode to the power stage: tone stack, the drive's level undone, master."""
        stack = circuits.rational(*circuits.tone_stack(settings["bass"], settings["middle"], settings["treble"]), hertz)
        gain = to_gain(settings["master"]) * self.stack_makeup / _preamplifier_gain(settings)
        aligned = waveshaping.mean_inverse(n_fft, self.oversampling, stages=2, like=hertz)
        return (-stack * aligned * gain[:, None])[:, None]

    def _power(self, level: Tensor, settings: Settings) -> Tensor:
        droop = 1.0 + settings["sag"][:, None, None] * self._current(level)
        one, zero = torch.ones_like(settings["sag"]), torch.zeros_like(settings["sag"])
        return waveshaping.clip_mean(level * droop, one, zero) / droop

    def _current(self, level: Tensor) -> Tensor:
        """The supply's load, 0 to 1, smoothed by its capacitors: (batch, 1, samples). Followed once a millisecond."""
        step = max(1, round(self.sample_rate / 1000)) * self.oversampling
        frames = -(-level.shape[-1] // step)
        loud = torch.nn.functional.pad(level.abs().mean(dim=1), (0, frames * step - level.shape[-1]))
        load = loud.reshape(-1, frames, step).mean(dim=-1)
        rate = self.sample_rate * self.oversampling / step
        attack, release = (1.0 - math.exp(-1.0 / (time * rate)) for time in (SAG_ATTACK, SAG_RELEASE))
        current = torch.nn.functional.pad(ballistics(load / (1.0 + load), attack, release), (1, 0))
        ramp = torch.linspace(0.0, 1.0 - 1.0 / step, step, dtype=level.dtype, device=level.device)
        smooth = torch.lerp(current[:, :-1, None], current[:, 1:, None], ramp)
        return smooth.flatten(1)[:, None, : level.shape[-1]]

    def _output(self, hertz: Tensor, n_fft: int, settings: Settings) -> Tensor:
        """From the power stage to the loudspeaker: transformer, presence, level."""
        lift = PRESENCE_GAIN * settings["presence"][:, None]
        presence = 1.0 + lift * _high_pass(hertz, PRESENCE_CORNER)
        transformer = _high_pass(hertz, TRANSFORMER_LOW) * (1.0 - _high_pass(hertz, TRANSFORMER_HIGH))
        gain = to_gain(settings["level"] - settings["master"]) * _power_makeup(settings)
        aligned = waveshaping.mean_inverse(n_fft, self.oversampling, stages=1, like=hertz)
        return (presence * (transformer * aligned) * gain[:, None])[:, None]


def _high_pass(hertz: Tensor, corner: Tensor | float) -> Tensor:
    """One pole: j f / (corner + j f)."""
    ratio = hertz / corner
    response: Tensor = torch.complex(ratio**2, ratio) / (1.0 + ratio**2)
    return response


NOMINAL = 0.125
"""The level at which the amplifier passes its input at unity: -18 dBFS RMS."""


def _noise(like: Tensor) -> Tensor:
    """Gaussian noise at the nominal level, as its 64 quantiles: (1, 64)."""
    quantiles = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    noise: Tensor = (NOMINAL * torch.special.ndtri(quantiles)).to(like)[None]
    return noise


def _preamplifier_gain(settings: Settings) -> Tensor:
    """By how much the two triodes raise the nominal level, without their filters: (batch,)."""
    gain, bias = to_gain(0.5 * settings["drive"])[:, None], settings["bias"][:, None]
    rest = waveshaping.clip(bias, UPPER, LOWER)
    level = waveshaping.clip(gain * _noise(bias) + bias, UPPER, LOWER) - rest
    level = level - level.mean(dim=-1, keepdim=True)  # the coupling capacitor
    level = waveshaping.clip(bias - gain * level, UPPER, LOWER)
    raised: Tensor = level.std(dim=-1, correction=0) / NOMINAL
    return raised


def _power_makeup(settings: Settings) -> Tensor:
    """What brings the nominal level, clipped by the power stage without sag, back to itself: (batch,)."""
    gain = to_gain(settings["master"])[:, None]
    level = waveshaping.clip(gain * _noise(gain)) / gain
    makeup: Tensor = NOMINAL / level.std(dim=-1, correction=0)
    return makeup


def _stack_makeup() -> float:
    """The gain that lets pink noise, 80 Hz to 5 kHz, through the tone stack in middle position at unity."""
    middle = torch.tensor([0.5], dtype=torch.float64)
    hertz = torch.logspace(math.log10(80.0), math.log10(5000.0), 100, dtype=torch.float64)
    response = circuits.rational(*circuits.tone_stack(middle, middle, middle), hertz)
    return float(response.abs().square().mean().rsqrt())
