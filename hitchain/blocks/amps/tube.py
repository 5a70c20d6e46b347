"""A valve guitar amplifier: two triodes, a tone stack, and a push-pull power stage on a supply that gives way."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import circuits, resampling, supply, waveshaping
from hitchain.blocks.dsp.circuits import filter_spectrum
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.oversampling import to_samples, to_spectrum
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

STRETCH, PREROLL = 16.0, 2.0
"""Long audio is amplified so many seconds at a time, each after so many that are heard again: the supply and the
coupling, the slowest to forget what was before, have then come within -110 dB of where they would be."""

_PER_HERTZ = 2.0 * math.pi / 1e3
"""From a corner in Hz to a coefficient: those are in radians a millisecond."""

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
    presets: ClassVar = {
        "clean": {"drive": 6.0, "bias": 0.2, "treble": 0.6, "master": 0.0, "sag": 0.2},
        "crunch": {"drive": 28.0, "tight": 80.0, "middle": 0.6, "presence": 0.4, "master": 8.0},
        "high gain": {
            "drive": 50.0, "tight": 160.0, "bias": 0.4, "middle": 0.35, "presence": 0.5, "master": 6.0, "sag": 0.3,
        },
    }  # fmt: skip

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or min(8, math.ceil(160_000 / sample_rate))
        self.stack_makeup = _stack_makeup()

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """Long audio is amplified in stretches: memory would else hold the whole at the valves' rate."""
        samples, frame = audio.shape[-1], self._frame()
        stretch, preroll = (round(seconds * 1000.0) * frame for seconds in (STRETCH, PREROLL))
        if samples <= stretch + preroll:
            return self._amplify(audio, settings)
        pieces = []
        for start in range(0, samples, stretch):
            begin, end = max(0, start - preroll), min(start + stretch, samples)
            piece = self._amplify(audio[..., begin : min(end + resampling.PADDING, samples)], settings)
            pieces.append(piece[..., start - begin : end - begin])
        return torch.cat(pieces, dim=-1)

    def _amplify(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, factor = audio.shape[-1], self.oversampling
        n_fft = fast_length(LEAD + samples + resampling.PADDING + round(TAIL * self.sample_rate))
        spacing = self.sample_rate / n_fft
        first, between, last = _fixed(n_fft, self.sample_rate, factor, audio.dtype, audio.device)

        padded = torch.nn.functional.pad(audio, (LEAD, n_fft - samples - LEAD))
        spectrum = filter_spectrum(to_spectrum(padded, n_fft, 1), *_high_pass(settings["tight"]), first, spacing)
        level = self._preamplifier(to_samples(spectrum, n_fft, factor), settings)
        spectrum = filter_spectrum(to_spectrum(level, n_fft, factor), *self._stack(settings), between, spacing)
        level = self._power(to_samples(spectrum, n_fft, factor), settings)
        spectrum = filter_spectrum(to_spectrum(level, n_fft, factor), *_output(settings), last, spacing)
        return to_samples(spectrum, n_fft, 1)[..., LEAD : LEAD + samples]

    def _preamplifier(self, level: Tensor, settings: Settings) -> Tensor:
        gain, bias, rate = to_gain(0.5 * settings["drive"]), settings["bias"], self.sample_rate * self.oversampling
        level = waveshaping.clip_mean(level, gain, bias, UPPER, LOWER)
        level = circuits.coupling(level, COUPLING_LOW, COUPLING_HIGH, rate)
        return waveshaping.clip_mean(level, -gain, bias, UPPER, LOWER)

    def _stack(self, settings: Settings) -> tuple[Tensor, Tensor]:
        """From the second triode to the power stage: tone stack, the drive's level undone, master."""
        gain = to_gain(settings["master"]) * self.stack_makeup / _preamplifier_gain(settings)
        numerator, denominator = circuits.tone_stack(settings["bass"], settings["middle"], settings["treble"])
        return numerator * gain[:, None], denominator

    def _frame(self) -> int:
        """A millisecond [samples]: how often the supply is followed."""
        return max(1, round(self.sample_rate / 1000))

    def _power(self, level: Tensor, settings: Settings) -> Tensor:
        step = self._frame() * self.oversampling
        droop = 1.0 + settings["sag"][:, None] * self._current(supply.frame_levels(level, step))
        return supply.sagging_clip(level, droop, step)

    def _current(self, load: Tensor) -> Tensor:
        """The supply's load, 0 to 1, smoothed by its capacitors: (batch, frames) -> (batch, frames + 1), from rest."""
        rate = self.sample_rate / self._frame()
        attack, release = (1.0 - math.exp(-1.0 / (time * rate)) for time in (SAG_ATTACK, SAG_RELEASE))
        return torch.nn.functional.pad(ballistics(load / (1.0 + load), attack, release), (1, 0))


def _high_pass(corner: Tensor) -> tuple[Tensor, Tensor]:
    """One pole, s / (w + s), as `circuits.rational` takes it."""
    one = torch.ones_like(corner)
    return torch.stack([torch.zeros_like(corner), one], -1), torch.stack([corner * _PER_HERTZ, one], -1)


def _output(settings: Settings) -> tuple[Tensor, Tensor]:
    """From the power stage to the loudspeaker: presence, 1 + lift s / (w + s), and level."""
    gain = to_gain(settings["level"] - settings["master"]) * _power_makeup(settings)
    corner = torch.full_like(gain, PRESENCE_CORNER * _PER_HERTZ)
    numerator = torch.stack([corner, 1.0 + PRESENCE_GAIN * settings["presence"]], -1) * gain[:, None]
    return numerator, torch.stack([corner, torch.ones_like(corner)], -1)


@lru_cache(maxsize=8)
def _fixed(
    n_fft: int, sample_rate: int, factor: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What no knob moves, complex (bins,): before the preamplifier, between it and the power stage, and after that.

    The resampling's edge on the way up and down, the antialiased stages' delay and droop undone, the inversion of the
    second triode, the output transformer.
    """
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        like = torch.zeros((), dtype=torch.float64, device=device)
        edge = resampling.edge(n_fft, like)
        two, one = (waveshaping.mean_inverse(n_fft, factor, stages, like) for stages in (2, 1))
        ratio_low, ratio_high = (frequencies(n_fft, sample_rate, like) / f for f in (TRANSFORMER_LOW, TRANSFORMER_HIGH))
        transformer = torch.complex(ratio_low**2, ratio_low) / (1.0 + ratio_low**2) / (1.0 + 1j * ratio_high)
        first, between, last = edge * factor + 0j, -two * edge**2, transformer * one * (edge / factor)
        return first.to(dtype.to_complex()), between.to(dtype.to_complex()), last.to(dtype.to_complex())


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
