"""Ring modulator and frequency shifter: every partial moved by as many hertz, both ways or one."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import resampling
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.fft import fast_length, rfft
from hitchain.blocks.dsp.movement import cosine, sine, turns
from hitchain.blocks.parameter import START, Parameter, Settings
from hitchain.blocks.registry import register

FACTOR = 2
"""Oversampling: a product of two signals reaches up to the sum of their bands."""

HILBERT = 4096
"""Taps of the quadrature filter, at the block's own rate; more than 80 dB of rejection from 60 Hz on at 44.1 kHz."""
_BETA = 8.0


@register("effects/ring_modulator")
class RingModulator(Block):
    """Ring modulator: the sound times a sine, which leaves the sums and differences of their frequencies.

        y = (1 - mix) x + mix x sin(2 pi (frequency t - drift / (2 pi sweep) frequency cos(2 pi sweep t)))

    The carrier itself goes up and down by `drift` of its frequency, `sweep` times a second. Without aliasing: the
    product is taken at twice the rate. Time is the song's.
    """

    parameters = (
        Parameter("frequency", 0.5, 8000.0, default=220.0, unit="Hz", scale="log", description="of the carrier"),
        Parameter(
            "sweep", 0.05, 10.0, default=0.4, unit="Hz", scale="log", description="swings of the carrier a second"
        ),
        Parameter("drift", 0.0, 0.5, default=0.0, description="how far it swings, as a share of its frequency"),
        Parameter("mix", 0.0, 1.0, default=0.5, varying=True, description="0 dry, 1 product only"),
    )
    presets: ClassVar = {
        "robot": {"frequency": 55.0, "mix": 1.0},
        "bell": {"frequency": 740.0, "mix": 0.6},
        "radio": {"frequency": 1900.0, "sweep": 0.2, "drift": 0.2, "mix": 0.5},
    }
    probe: ClassVar = {"drift": 0.2}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        carrier = self.carrier(settings, samples * FACTOR).to(audio.dtype).unsqueeze(1)
        product = resampling.downsample(resampling.upsample(audio, FACTOR) * carrier, FACTOR)
        return audio + over_audio(settings["mix"], samples) * (product - audio)

    def carrier(self, settings: Settings, samples: int) -> Tensor:
        """At `FACTOR` times the sample rate: float64 (batch, samples)."""
        rate, start = self.sample_rate * FACTOR, settings.get(START, 0.0)
        reach = settings["drift"].double() * settings["frequency"].double() / settings["sweep"].double()
        swings = cosine(turns(settings["sweep"], samples, rate, start))
        cycles = turns(settings["frequency"], samples, rate, start)
        return sine(cycles - reach.unsqueeze(-1) * swings / (2.0 * math.pi))


@register("effects/frequency_shifter")
class FrequencyShifter(Block):
    """Frequency shifter: every partial moved by the same number of hertz, up or down (single-sideband modulation).

        y = (1 - mix) x + mix Re((x + j h * x) e^{2 pi j shift t})

    with h the Hilbert transform as a linear-phase filter of 4096 taps under a Kaiser window, centred, so that nothing
    comes late (D. Wardle, "A Hilbert-transformer frequency shifter for audio", DAFx-98, with recursive filters). The
    product is taken at twice the rate: what would go beyond the band is dropped, not folded back. Downwards, what would
    go below 0 Hz comes back up, as in the analog device. `spread` turns the right side's shift against the left's.
    """

    parameters = (
        Parameter("shift", -1000.0, 1000.0, default=30.0, unit="Hz", description="up, or below 0 down"),
        Parameter("spread", 0.0, 1.0, default=0.0, description="0 both sides alike, 1 the right goes the other way"),
        Parameter("mix", 0.0, 1.0, default=0.5, varying=True, description="0 dry, 1 shifted only"),
    )
    presets: ClassVar = {
        "slow phasing": {"shift": 0.4, "spread": 1.0, "mix": 0.5},
        "inharmonic": {"shift": 140.0, "mix": 1.0},
        "down": {"shift": -60.0, "mix": 0.7},
    }
    probe: ClassVar = {"spread": 0.3}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        shift, spread = settings["shift"].double(), settings["spread"].double()
        shifts = torch.stack([shift, shift * (1.0 - 2.0 * spread)], dim=1).flatten()
        cycles = turns(shifts, samples * FACTOR, self.sample_rate * FACTOR, settings.get(START, 0.0))
        cycles = cycles.view(len(audio), 2, -1)
        straight, quadrature = self._analytic(audio)
        shifted = straight * cosine(cycles, dtype=audio.dtype) - quadrature * sine(cycles, dtype=audio.dtype)
        wet = resampling.downsample(shifted, FACTOR)
        return audio + over_audio(settings["mix"], samples) * (wet - audio)

    def _analytic(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """The signal and its Hilbert transform, at twice the rate."""
        samples = audio.shape[-1]
        n_fft = fast_length(samples + HILBERT // 2 + resampling.PADDING)
        spectrum = rfft(audio, n_fft)
        turned = spectrum * hilbert_response(n_fft, audio.dtype).to(audio.device)
        both = (resampling.interpolate(value, n_fft, FACTOR)[..., : samples * FACTOR] for value in (spectrum, turned))
        straight, quadrature = both
        return straight, quadrature


@lru_cache(maxsize=8)
def hilbert_response(n_fft: int, dtype: torch.dtype) -> Tensor:
    """The quadrature filter at the bins, centred on 0: complex (n_fft // 2 + 1,). Kept; not to be written to."""
    reach = min(HILBERT, n_fft - 2) // 2
    taps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    odd = taps % 2 != 0
    ideal = torch.where(odd, 2.0 / (math.pi * torch.where(odd, taps, 1.0)), 0.0)
    window = torch.kaiser_window(2 * reach + 1, periodic=False, beta=_BETA, dtype=torch.float64)
    circle = torch.zeros(n_fft, dtype=torch.float64)
    circle[taps.long() % n_fft] = ideal * window
    response: Tensor = torch.fft.rfft(circle).to(dtype.to_complex())
    return response
