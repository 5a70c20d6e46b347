"""The compiled additive voice against its parts run one after the other, which have references of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp import additive_voice
from hitchain.blocks.dsp.voices import Voices

RATE = 44100
COUNTS = (700, 1, 256, 513)
KNOBS = {
    "since": (0.0000071, 0.2, 0.0101, 0.3),
    "frequency": (220.0, 97.3, 1300.0, 41.0),
    "vibrato_depth": (0.003, 0.05, 0.01, 0.0),
    "vibrato_rate": (5.0, 0.2, 11.0, 6.0),
    "vibrato_onset_rate": (3.3, 2.0, 50.0, 0.5),
    "hiss": (0.1, 0.0, 0.3, 0.01),
    "duration": (0.0083171, 0.15, 0.3, 0.3071717),
    "attack": (0.0021171, 0.002, 0.0151, 0.003),
    "decay": (0.5, 0.02, 0.1, 0.3),
    "sustain": (0.7, 0.5, 0.2, 1.0),
    "release": (0.0041711, 0.1, 0.2, 0.005),
}


@pytest.mark.parametrize("partials", [1, 6])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_equals_its_parts_and_so_do_its_gradients(partials: int, dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, dtype=torch.float64, generator=generator)

    knobs = {name: torch.tensor(KNOBS[name], dtype=torch.float64, requires_grad=True) for name in KNOBS}
    number = torch.arange(1, partials + 1, dtype=torch.float64)
    ratio = (number + 0.1 * draw(4, partials)).requires_grad_()
    amplitude = (draw(4, partials) - 0.3).to(dtype).requires_grad_()
    fall = (0.1 * draw(4, partials)).requires_grad_()
    noises = (draw(2, 1000) - 0.5).to(dtype).requires_grad_()
    count, row = torch.tensor(COUNTS), torch.tensor([1, 0, 1, 1])
    voices = Voices(row, row, row, count, int(count.max()), RATE)
    bank = (ratio, amplitude, fall, noises, torch.tensor([900, -3, 5, 12345]), voices, 64)
    leaves = [*knobs.values(), ratio, amplitude, fall, noises]
    heard = torch.arange(voices.span) < voices.count[:, None]
    weights = (draw(4, voices.span) - 0.5).to(dtype) * heard
    results = []
    for play in (additive_voice.play, additive_voice.play_reference):
        audio = play(knobs, *bank, top=torch.full((4,), partials))
        results.append((audio.where(heard, 0.0).detach(), *torch.autograd.grad(audio, leaves, weights)))
    for ours, expected in zip(*results, strict=True):
        assert expected.abs().max() > 0
        scale = float(expected.abs().max())
        torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance * scale)


def test_without_gradients_it_is_the_same_sound() -> None:
    knobs = {name: torch.tensor(KNOBS[name], dtype=torch.float64) for name in KNOBS}
    amplitude, noises = torch.full((4, 3), 0.2), torch.linspace(-1.0, 1.0, 999)[None]
    ratio, row = torch.arange(1.0, 4.0, dtype=torch.float64).expand(4, 3), torch.zeros(4, dtype=torch.int64)
    voices = Voices(row, row, row, torch.full((4,), 600), 600, RATE)
    top = torch.full((4,), 3)
    still = additive_voice.play(knobs, ratio, amplitude, 0.01 * ratio, noises, row, voices, 64, top)
    learning = additive_voice.play(
        knobs, ratio, amplitude.clone().requires_grad_(), 0.01 * ratio, noises, row, voices, 64, top
    )
    assert torch.equal(still, learning)
