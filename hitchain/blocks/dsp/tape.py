"""What a tape does to a signal: hysteresis, the heads' losses, and the bump at the bottom."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks.dsp import distortion
from hitchain.blocks.dsp.hysteresis import langevin, magnetise

FIELD = 3.01
"""What full scale is in units of the anhysteretic shape parameter: Chowdhury's 1 / a at half drive."""

SPACING = 3e-6
"""Between tape and head, after equalising [m]: e^(-2 pi f spacing / speed) is lost."""

INCH = 0.0254
BUMP, BUMP_GAIN, BUMP_WIDTH = 3.5, 1.26, 0.8
"""The head as a whole lifts 3.5 Hz for each inch a second, by 2 dB, some octave wide."""

BLOCKING = 10.0
TAIL = 0.25
MEMORY = 1.0
"""Seconds after which little is left of what was magnetised before."""

NOMINAL = 0.2
"""The level that leaves about as loud as it came: -14 dBFS RMS."""

HELD_BACK = 0.75
"""Share of the anhysteretic magnetisation that music at that level reaches without bias (measured on pink noise)."""


def record(audio: Tensor, drive: Tensor, bias: Tensor, speed: Tensor, sample_rate: int, oversampling: int) -> Tensor:
    """Record and play back, at about the same loudness.

    Args:
        audio: (batch, channels, samples).
        drive: gain into the tape, as a ratio, (batch,).
        bias: 0 to 1, (batch,): how far the bias current loosens the domains; more is cleaner and less compressed.
        speed: of the tape [inches a second], (batch,).
    """
    reversible, gain = 0.05 + 0.9 * bias, FIELD * drive
    raised = distortion.noise_gain(lambda noise: langevin(gain[:, None] * noise), like=gain, nominal=NOMINAL)
    makeup = 1.0 / (raised * (HELD_BACK + (1.0 - HELD_BACK) * reversible))
    played = distortion.distort(
        audio * gain[:, None, None],
        lambda field: magnetise(field, reversible),
        sample_rate,
        oversampling,
        after=lambda hertz: playback(hertz, speed),
        tail=TAIL,
        memory=MEMORY,
    )
    return played * makeup[:, None, None]


def playback(hertz: Tensor, speed: Tensor) -> Tensor:
    """The playback head: spacing loss, head bump, DC blocked. (batch,) -> complex (batch, 1, bins)."""
    inches = speed[:, None, None]
    loss = torch.exp(-2.0 * math.pi * SPACING / INCH * hertz / inches)
    w = hertz / (BUMP * inches)
    even, odd = 1.0 - w.square(), BUMP_WIDTH * w
    bump = torch.complex(even, BUMP_GAIN * odd) / torch.complex(even, odd)
    return loss * bump * distortion.blocking(hertz, BLOCKING)
