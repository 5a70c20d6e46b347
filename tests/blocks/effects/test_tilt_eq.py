"""The tilt control against its analogue prototype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain import blocks

Accuracy = Callable[..., None]
RATE = 44100


def settings_of(**knobs: float) -> dict[str, torch.Tensor]:
    settings = blocks.create("effects/tilt_eq").defaults(1, torch.float64)
    for key, value in knobs.items():
        settings[key].fill_(value)
    return settings


@pytest.mark.parametrize("tilt", [-12.0, 4.0])
def test_tilt_is_the_bilinear_transform_of_its_prototype(tilt: float, accuracy: Accuracy) -> None:
    """scipy.signal.bilinear and lfilter, with the pivot prewarped: rounding only."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 2, 6000))
    gain, w = 10 ** (tilt / 20), 2 * RATE * np.tan(np.pi * 700.0 / RATE)
    b, a = scipy.signal.bilinear([gain, w], [1.0, gain * w], fs=RATE)
    expected = scipy.signal.lfilter(b, a, noise)
    output = blocks.create("effects/tilt_eq")(torch.tensor(noise), settings_of(tilt=tilt, pivot=700.0))
    error = 20 * np.log10(np.abs(output.numpy() - expected).max() / np.abs(expected).max() + 1e-20)
    accuracy("effects/tilt_eq", f"scipy.signal.lfilter, {tilt:g} dB", error, bound=-180.0)


def test_tilt_turns_about_its_pivot() -> None:
    response = blocks.create("effects/tilt_eq").response(settings_of(tilt=6.0, pivot=RATE / 32), 1024)
    level = 20 * torch.log10(response.abs()[0, 0])
    assert [float(level[k]) for k in (0, 32, 512)] == pytest.approx([-6.0, 0.0, 6.0], abs=1e-9)
