"""Artificial reverberation by a feedback delay network."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.delays import delay_response
from hitchain.blocks.dsp.feedback_network import FeedbackNetwork, feedback_network_response
from hitchain.blocks.dsp.filters import bounded_frequency
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SHORTEST, LONGEST = 0.013, 0.067
"""Delays of the lines at size 1 [s]."""

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0

DIFFUSERS = ((0.00239, 0.75), (0.00180, 0.75), (0.00637, 0.625), (0.00465, 0.625))
"""Delay [s] and coefficient of the all-passes at the input: those of Dattorro 1997, "Effect design", half as long."""


def _decay(band: str, default: float) -> Parameter:
    return Parameter(f"decay_{band}", 0.2, 10.0, default, "s", "log", f"time to fall by 60 dB, {band} frequencies")


@lru_cache(maxsize=8)
def diffusion(n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The constant part of the response, complex (bins,): all-passes (g + e^{-jwm}) / (1 + g e^{-jwm}), and a roll-off.

    The roll-off, a raised cosine over the last tenth below Nyquist, is for the fractional delays: cut off at Nyquist
    they would ring, before the sound as well as after it.
    """
    position = torch.arange(n_fft // 2 + 1, dtype=torch.float64, device=device) / (n_fft / 2)
    response = 0.5 + 0.5 * torch.cos(math.pi * ((position - 0.9) / 0.1).clamp_min(0.0)).to(torch.complex128)
    for seconds, coefficient in DIFFUSERS:
        length = torch.tensor(float(round(seconds * sample_rate)), dtype=torch.float64, device=device)
        delayed = delay_response(length, n_fft)
        response = response * (coefficient + delayed) / (1.0 + coefficient * delayed)
    return response.to(dtype)


@register("effects/reverb")
class Reverb(LinearBlock):
    """Feedback delay network with a decay time per band, evaluated at the bins (`dsp.feedback_network`).

    The rate of decay at a frequency is the bands' rates, weighed by two first-order crossovers:

        60 dB / T(f) = 60 dB (low(f) / decay_low + mid(f) / decay_mid + high(f) / decay_high)
        low = 1 / (1 + (f/f_low)^2),  high = 1 / (1 + (f_high/f)^2),  mid = 1 - low - high

    (f warped by the bilinear transform). Every line attenuates by its share of that rate, exactly, as the exponential
    of a causal first-order filter (after Jot and Chaigne 1991; Schlecht and Habets 2017, "Accurate reverberation time
    control in feedback delay networks"). The lines' lengths are in golden ratio, so that no two have common echoes;
    left and right are orthogonal sums of them. Four all-passes before the network thicken its first echoes. The
    reverberation is scaled to the energy of its input at a mean decay, and mixed at equal power: cos(pi/2 mix) dry +
    sin(pi/2 mix) wet.

    Time wraps round at -90 dB: `tail` is one and a half times the longest decay.

    Args:
        sample_rate: [Hz].
        lines: 8 or 16 delay lines: more are denser, and slower.
    """

    parameters = (
        _decay("low", 2.0),
        _decay("mid", 1.6),
        _decay("high", 0.8),
        Parameter("crossover_low", 60.0, 800.0, default=250.0, unit="Hz", scale="log", description="low to mid decay"),
        Parameter("crossover_high", 1500.0, 12000.0, 4500.0, "Hz", "log", "mid to high decay"),
        Parameter("size", 0.25, 4.0, default=1.0, scale="log", description="of the room: scales all its delays"),
        Parameter("pre_delay", 0.0, 200.0, default=12.0, unit="ms", description="before the reverberation begins"),
        Parameter("mix", 0.0, 1.0, default=0.2, description="0 dry, 1 reverberation only"),
    )
    presets: ClassVar = {
        "room": {
            "decay_low": 0.6,
            "decay_mid": 0.5,
            "decay_high": 0.35,
            "size": 0.4,
            "pre_delay": 3.0,
            "mix": 0.18,
        },
        "hall": {
            "decay_low": 2.8,
            "decay_mid": 2.3,
            "decay_high": 1.1,
            "size": 1.6,
            "pre_delay": 25.0,
            "mix": 0.25,
        },
        "plate": {
            "decay_low": 1.4,
            "decay_mid": 1.8,
            "decay_high": 1.4,
            "size": 0.5,
            "pre_delay": 0.0,
            "mix": 0.22,
        },
    }
    probe: ClassVar[dict[str, float]] = {"mix": 0.6}
    seconds: Tensor
    signs: Tensor

    def __init__(self, sample_rate: int = 44100, lines: int = 8) -> None:
        super().__init__(sample_rate)
        if lines not in (8, 16):
            raise UserError(f"lines={lines} is not to be had; effects/reverb has 8 or 16 delay lines.")
        place = (torch.arange(lines, dtype=torch.float64) + 0.5) * GOLDEN % 1.0
        self.register_buffer("seconds", SHORTEST * (LONGEST / SHORTEST) ** place, persistent=False)
        index = torch.arange(lines)
        left, right = 1 - 2 * (index % 2), 1 - 2 * (index // 2 % 2)  # two rows of a Hadamard matrix
        self.register_buffer("signs", torch.stack([left, right]).double(), persistent=False)

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        size, angle = settings["size"], settings["mix"] * (math.pi / 2.0)
        decays = torch.stack([settings[f"decay_{band}"] for band in ("low", "mid", "high")], dim=-1)
        edges = torch.stack([settings["crossover_low"], settings["crossover_high"]], dim=-1)
        lengths = size.double().unsqueeze(-1) * (self.seconds.double() * self.sample_rate)
        network = FeedbackNetwork(
            lengths=lengths,
            rates=math.log(1000.0) / self.sample_rate / decays,
            tangents=torch.tan(bounded_frequency(edges, self.sample_rate) * (math.pi / self.sample_rate)),
            delay=settings["pre_delay"].double() * (self.sample_rate / 1000.0),
            wet=torch.sin(angle) * self.level(settings, lengths.to(size.dtype)),
            dry=torch.cos(angle),
        )
        feed = diffusion(n_fft, self.sample_rate, size.dtype.to_complex(), size.device)
        return feedback_network_response(network, self.signs, feed, n_fft)

    def level(self, settings: Settings, lengths: Tensor) -> Tensor:
        """The factor, (batch,), that gives the reverberation unit energy for white noise at the bands' mean decay.

        Each of N lines is given energy 1, of which a share q = mean exp(-2 ln(1000) m / T) leaves it, to be sent round
        again without loss: N (q + q^2 + ...) = N q / (1 - q) in all.
        """
        mean = (settings["decay_low"] + 2.0 * settings["decay_mid"] + settings["decay_high"]) / 4.0
        exponent = lengths * (-2.0 * math.log(1000.0) / self.sample_rate / mean).unsqueeze(-1)
        lost = -torch.expm1(exponent).mean(dim=-1)
        return torch.sqrt(lost / (1.0 - lost) / lengths.shape[-1])

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        longest = torch.maximum(settings["decay_low"], torch.maximum(settings["decay_mid"], settings["decay_high"]))
        start = LONGEST * settings["size"] + settings["pre_delay"] / 1000.0
        return float((1.5 * longest + start).max()) + sum(delay for delay, _ in DIFFUSERS)
