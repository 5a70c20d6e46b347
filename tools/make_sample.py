"""Make the shipped sample: `python tools/make_sample.py`. A struck tine by formula; no recording went into it.

Partials at the ratios of a bar clamped at one end and a tone bar tuned to it (as in an electric piano), each an
exponentially decaying sine, and the short thump of the hammer. 2.2 s at 32 kHz, middle C. Dedicated to the public
domain (CC0).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from hitchain.files import write_wav

RATE = 32_000
SECONDS = 2.2
PITCH = 440.0 * 2.0 ** (-9.0 / 12.0)
FOLDER = Path(__file__).parents[1] / "hitchain" / "data" / "samples"
PARTIALS = (  # ratio, amplitude, decay rate [1/s]
    *((k, 1.0 / k**1.7, 1.2 + 0.9 * k) for k in range(1, 13)),
    (6.267, 0.30, 14.0),
    (17.55, 0.10, 40.0),
)


def tine() -> torch.Tensor:
    """(1, samples), peak 0.7."""
    time = torch.arange(round(SECONDS * RATE), dtype=torch.float64) / RATE
    audio = torch.zeros_like(time)
    for ratio, amplitude, decay in PARTIALS:
        audio += amplitude * torch.exp(-decay * time) * torch.sin(2.0 * math.pi * PITCH * ratio * time)
    audio += 0.25 * torch.exp(-90.0 * time) * torch.sin(2.0 * math.pi * 95.0 * time)
    ends = (time / 0.002).clamp(0.0, 1.0) * ((SECONDS - time) / 0.25).clamp(0.0, 1.0)
    audio = audio * ends
    return (0.7 * audio / audio.abs().max()).float()[None]


if __name__ == "__main__":
    write_wav(FOLDER / "tine_C4.wav", tine(), RATE, "PCM_24")
