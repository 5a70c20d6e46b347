"""Make the shipped cabinet impulse responses: `python tools/make_cabs.py`. No recording went into them.

Each is the parametric speaker of `cabs/speaker`, told apart from it by what a microphone in front of a real cabinet
hears besides: cone modes above the break-up, the other cones' later arrival, and a reflection from the floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from hitchain.blocks.cabs.speaker import Speaker
from hitchain.blocks.dsp.circuits import warped
from hitchain.files import write_wav

RATE = 48_000
SAMPLES = 4096
FOLDER = Path(__file__).parents[1] / "hitchain" / "data" / "cabs"


@dataclass(frozen=True)
class Cabinet:
    """Speaker settings, cone modes as (Hz, dB, Q), further paths as (metres, share of the direct sound)."""

    name: str
    settings: dict[str, float]
    modes: tuple[tuple[float, float, float], ...]
    paths: tuple[tuple[float, float], ...]


CABINETS = (
    Cabinet(
        "closed_4x12",
        {"resonance": 105, "damping": 0.9, "breakup": 2700, "breakup_gain": 7, "rolloff": 4900, "open_back": 0},
        modes=((430.0, -4.0, 2.5), (820.0, 2.0, 4.0), (1450.0, -2.5, 5.0), (1900.0, 2.5, 6.0), (3400.0, 3.0, 8.0),
               (3900.0, -6.0, 9.0), (4500.0, 4.0, 10.0), (5600.0, -5.0, 10.0), (6800.0, 4.0, 9.0)),
        paths=((0.26, 0.28), (0.27, 0.26), (0.41, 0.16), (0.62, 0.12)),
    ),
    Cabinet(
        "open_1x12",
        {"resonance": 85, "damping": 1.1, "breakup": 2300, "breakup_gain": 6, "rolloff": 5600, "open_back": 0.7},
        modes=((520.0, 1.5, 3.0), (1150.0, -3.0, 5.0), (1700.0, 2.0, 6.0), (3100.0, 3.5, 8.0), (3700.0, -5.0, 8.0),
               (4300.0, 3.0, 10.0), (5200.0, -4.0, 9.0), (6400.0, 4.0, 10.0)),
        paths=((0.35, 0.10), (0.80, 0.12)),
    ),
)  # fmt: skip


def impulse(cabinet: Cabinet) -> torch.Tensor:
    """(samples,), peak 0.9."""
    n_fft = 4 * SAMPLES
    block = Speaker(RATE)
    chosen = {key: torch.tensor([value], dtype=torch.float64) for key, value in cabinet.settings.items()}
    settings = {**block.defaults(1, torch.float64), **chosen}
    hertz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (RATE / n_fft)
    response = block.response(settings, n_fft)[0, 0]
    for centre, gain, quality in cabinet.modes:
        w = warped(hertz, torch.tensor(centre), RATE)
        height = 10 ** (gain / 40)
        real = 1.0 - w.square()
        response = response * torch.complex(real, w * height / quality) / torch.complex(real, w / (height * quality))
    # Further off, further off axis: later arrivals are duller, one pole at 2.5 kHz.
    dull = 1.0 / (1.0 + 1j * hertz / 2500.0)
    arrivals = sum(share * torch.exp(-2j * math.pi * hertz * metres / 343.0) for metres, share in cabinet.paths)
    kernel = torch.fft.irfft(response * (1.0 + dull * arrivals), n=n_fft)[:SAMPLES]
    fade = SAMPLES // 4
    kernel[-fade:] *= 0.5 + 0.5 * torch.cos(torch.linspace(0.0, math.pi, fade, dtype=torch.float64))
    return 0.9 * kernel / kernel.abs().max()


def main() -> None:
    for cabinet in CABINETS:
        write_wav(FOLDER / f"{cabinet.name}.wav", impulse(cabinet)[None].float(), RATE, subtype="PCM_24")


if __name__ == "__main__":
    main()
