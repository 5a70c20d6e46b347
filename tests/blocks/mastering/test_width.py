"""Stereo width against mid/side arithmetic and scipy's filters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.blocks.mastering.width import Width

RATE = 44100


def widen(audio: torch.Tensor, rate: int = RATE, **knobs: float) -> torch.Tensor:
    block = Width(rate)
    defaults = block.defaults(audio.shape[0], audio.dtype)
    return block(audio, {**defaults, **{key: torch.full_like(defaults[key], value) for key, value in knobs.items()}})


def stereo(seed: int = 0, samples: int = 8000) -> torch.Tensor:
    return torch.randn(2, 2, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_zero_is_mono() -> None:
    audio = stereo()
    assert torch.allclose(widen(audio, width=0.0), audio.mean(dim=1, keepdim=True).expand(-1, 2, -1))


def test_one_changes_only_what_lies_below_20_hz() -> None:
    """An anti-phase sine at 200 Hz: (20 / 200)^4 of it is taken out, 1e-4."""
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    sine = torch.sin(2 * torch.pi * 200.0 * time) * torch.hann_window(RATE, dtype=torch.float64)
    audio = torch.stack([sine, -sine])[None]
    assert (widen(audio) - audio).abs().max().item() == pytest.approx(1e-4, rel=0.05)


def test_two_doubles_the_side() -> None:
    audio = stereo()
    middle = audio.mean(dim=1)
    one, two = widen(audio), widen(audio, width=2.0)
    assert torch.allclose(two.mean(dim=1), middle)
    assert torch.allclose(two[:, 0] - two[:, 1], 2.0 * (one[:, 0] - one[:, 1]))


@pytest.mark.parametrize("rate", [8000, 44100])
def test_bass_becomes_mono_without_phase_shift(rate: int, accuracy: Callable[..., None]) -> None:
    """Against scipy's second-order Butterworth run forwards and backwards, whose response is the same f^4 / (f^4 + c^4)
    in the analogue world; at 300 Hz bilinear warping is small: -50 dB at 44.1 kHz, -35 dB at 8 kHz."""
    audio = stereo(1, rate)
    audio[..., : rate // 4] = audio[..., -rate // 4 :] = 0.0
    output = widen(audio, rate, bass_mono=300.0)
    side = 0.5 * (audio[:, 0] - audio[:, 1]).numpy()
    sos = scipy.signal.butter(2, 300.0, "highpass", fs=rate, output="sos")
    expected = scipy.signal.sosfiltfilt(sos, side, axis=-1, padlen=0)
    difference = 0.5 * (output[:, 0] - output[:, 1]).numpy() - expected
    error = 10 * np.log10(np.mean(difference**2) / np.mean(expected**2))
    bound = -50.0 if rate == 44100 else -35.0
    accuracy("mastering/width", f"scipy.signal.sosfiltfilt at {rate} Hz", error, bound=bound)


@pytest.mark.parametrize("samples", [1, 100, 5000])
def test_mono_passes(samples: int) -> None:
    audio = stereo(2, samples)[:, :1]
    assert torch.equal(widen(audio, width=2.0, bass_mono=400.0), audio)


@settings(max_examples=12)
@given(
    samples=st.sampled_from([1, 2, 3000]),
    width=st.floats(0.0, 2.0),
    corner=st.floats(20.0, 400.0),
    seed=st.integers(0, 99),
)
def test_properties(samples: int, width: float, corner: float, seed: int) -> None:
    audio = stereo(seed, samples).float()
    output = widen(audio, width=width, bass_mono=corner)
    assert output.isfinite().all()
    assert output.abs().max() <= 4.0 * audio.abs().max()
    assert torch.allclose(output[1:], widen(audio[1:], width=width, bass_mono=corner), atol=1e-5)
    assert widen(torch.zeros_like(audio), width=width, bass_mono=corner).abs().max() == 0
