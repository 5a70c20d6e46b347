"""Two cabinets blended: against numpy's convolution, and in step by what a known delay is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hitchain.blocks.cabs.blend import Blend
from hitchain.errors import UserError

RATE = 44_100


def written(folder: Path, name: str, late: int = 0, sign: float = 1.0) -> str:
    generator = np.random.default_rng(7)
    kernel = generator.standard_normal(600) * np.exp(-np.arange(600) / 60.0)
    kernel[0] = 0.002 * np.abs(kernel).max()  # a faint onset, so that the rest may come late behind it
    kernel = np.concatenate([kernel[:1], np.zeros(late), sign * kernel[1:]])
    soundfile.write(folder / name, kernel, RATE, subtype="FLOAT")
    return str(folder / name)


def settings(block: Blend, polarity: str = "normal", **chosen: float) -> dict[str, Tensor]:
    values = block.defaults(1, torch.float64)
    values |= {key: torch.tensor([value], dtype=torch.float64) for key, value in chosen.items()}
    return {**values, "polarity": torch.tensor([[polarity == "normal", polarity != "normal"]], dtype=torch.float64)}


def impulse(block: Blend, **chosen: Any) -> np.ndarray:
    audio = torch.zeros(1, 1, 6000, dtype=torch.float64)
    audio[..., 200] = 1.0
    return block(audio, settings(block, **chosen))[0, 0].numpy()[200:]


def test_is_the_weighted_sum_of_delayed_convolutions(accuracy: Any) -> None:
    block = Blend(RATE, align=False).double()
    late = 37
    first, second = (block.get_buffer(f"kernel_{index}")[0].numpy() for index in range(2))
    if block.leads[0] > 0:  # the shipped files are at another rate: their own ends on the blend are the reference
        first, second = impulse(block, blend=0.0), impulse(block, blend=1.0)
    size = 3000
    expected = 0.7 * first[:size]
    expected[late:] -= 0.3 * second[: size - late]
    expected *= 10 ** (3.0 / 20.0)
    found = impulse(block, blend=0.3, delay=1e3 * late / RATE, polarity="inverted", level=3.0)[:size]
    error = 10 * math.log10(((found - expected) ** 2).sum() / (expected**2).sum() + 1e-30)
    accuracy("cabs/blend", "numpy: weighted sum of delayed responses", error, bound=-80.0)


@pytest.mark.parametrize("late", [0, 5, 90])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_brings_the_second_into_step(tmp_path: Path, late: int, sign: float) -> None:
    files = written(tmp_path, "a.wav"), written(tmp_path, "b.wav", late, sign)
    block = Blend(RATE, *files)
    assert block.shift * RATE == pytest.approx(late, abs=0.1)
    assert Blend(RATE, *files, align=False).shift == 0.0
    polarity = "normal" if sign > 0 else "inverted"
    alone, both = impulse(block, blend=0.0), impulse(block, blend=0.5, polarity=polarity)
    assert np.abs(both - alone).max() < 0.02 * np.abs(alone).max()  # the same response: nothing combs


def test_errors() -> None:
    with pytest.raises(UserError, match="align"):
        Blend(RATE, align="yes")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not found"):
        Blend(RATE, second="closed_4x21")
