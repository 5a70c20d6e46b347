"""The compiled subtractive voice against its parts run one after the other, which have references of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp import subtractive_voice
from hitchain.blocks.dsp.voices import Voices

RATE = 44100
COUNTS = (700, 1, 256, 513)
KNOBS = {
    "since": (0.0000071, 0.2, 0.0101, 0.3),
    "duration": (0.0083171, 0.15, 0.3, 0.3071717),
    "frequency": (220.0, 97.3, 1300.0, 41.0),
    "vibrato_depth": (0.003, 0.05, 0.01, 0.0),
    "vibrato_rate": (5.0, 0.2, 11.0, 6.0),
    "vibrato_onset_rate": (3.3, 3.3, 50.0, 3.3),
    "ratio": (1.004, 0.98, 1.0, 1.02),
    "hiss": (0.1, 0.0, 0.3, 0.01),
    "closed": (8.0, 10.0, 14.0, 5.0),
    "opened": (12.0, 6.0, 14.3, 5.5),
    "damping": (1.0, 0.05, 1.4, 0.2),
    "filter_attack": (0.0021171, 0.001, 0.4, 0.01),
    "filter_decay": (0.02, 0.3, 0.1, 0.2),
    "filter_sustain": (0.3, 0.0, 1.0, 0.5),
    "filter_release": (0.0031, 0.3, 0.3, 0.1),
    "attack": (0.0101171, 0.002, 0.0151, 0.003),
    "decay": (0.5, 0.02, 0.1, 0.3),
    "sustain": (0.7, 0.5, 0.2, 1.0),
    "release": (0.0041711, 0.1, 0.2, 0.005),
}


def _inputs(dtype: torch.dtype) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, Tensor, Voices]:
    generator = torch.Generator().manual_seed(0)
    knobs = {name: torch.tensor(KNOBS[name], dtype=torch.float64, requires_grad=True) for name in KNOBS}
    wave = torch.sin(torch.arange(1024, dtype=torch.float64) * (2 * torch.pi / 1024))
    low = (wave + 0.01 * torch.randn(4, 1024, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_()
    high = (wave**3 - 0.01 * torch.randn(4, 1024, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_()
    white = torch.randn(2000, dtype=torch.float64, generator=generator).to(dtype)
    count = torch.tensor(COUNTS)
    places = torch.zeros(4, dtype=torch.int64)
    voices = Voices(places, places, places, count, int(count.max()), RATE)
    return knobs, low, high, white, torch.tensor([1900, -3, 5, 12345]), voices


@pytest.mark.parametrize("poles", [2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_equals_its_parts_and_so_do_its_gradients(poles: int, dtype: torch.dtype, tolerance: float) -> None:
    knobs, low, high, white, position, voices = _inputs(dtype)
    leaves = [*knobs.values(), low, high]
    heard = torch.arange(voices.span) < voices.count[:, None]
    weights = (
        torch.randn(heard.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype) * heard
    )
    results = []
    for play in (subtractive_voice.play, subtractive_voice.play_reference):
        audio = play(knobs, low, high, white, position, voices, poles)
        results.append((audio.where(heard, 0.0), *torch.autograd.grad(audio, leaves, weights)))
    for ours, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0
        scale = float(expected.detach().abs().max())
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance * scale)
