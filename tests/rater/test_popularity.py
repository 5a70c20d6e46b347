"""popularity: p = likes / plays * log(likes)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain import rater
from hitchain.errors import UserError


def test_value_by_hand() -> None:
    # 50 of 1000 plays liked: 0.05 * ln 50 = 0.05 * 3.912023005428146
    assert rater.popularity(50, 1000) == pytest.approx(0.1956011502714073, rel=1e-12)


@pytest.mark.parametrize(("likes", "plays"), [(0, 0), (0, 10), (1, 1), (1, 500), (0.5, 2)])
def test_zero_where_likes_are_one_or_fewer(likes: float, plays: float) -> None:
    assert rater.popularity(likes, plays) == 0.0


def test_no_jump_at_one_like() -> None:
    assert rater.popularity(1.0 + 1e-9, 10.0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("likes", "plays", "word"),
    [(11, 10, "exceed"), (-1, 10, "likes"), (0, -1, "plays"), (math.nan, 1, "likes"), (1, math.inf, "plays")],
)
@pytest.mark.parametrize("kind", [float, np.float32, torch.tensor])
def test_impossible_counts_are_refused(likes: float, plays: float, word: str, kind: type) -> None:
    with pytest.raises(UserError, match=word):
        rater.popularity(kind(likes), kind(plays))


def test_arrays_and_tensors_broadcast_and_agree() -> None:
    likes = np.array([0.0, 1.0, 2.0, 30.0])
    array = rater.popularity(likes, 100.0)
    tensor = rater.popularity(torch.from_numpy(likes), 100.0)
    assert array.dtype == np.float64
    assert tensor.dtype == torch.float64
    np.testing.assert_allclose(tensor.numpy(), array, rtol=1e-12)
    np.testing.assert_allclose(array, [0.0, 0.0, 0.02 * math.log(2), 0.3 * math.log(30)], rtol=1e-12)


def test_integer_tensors_are_counts_too() -> None:
    result = rater.popularity(torch.tensor([4, 0]), torch.tensor([8, 8]))
    assert result.tolist() == pytest.approx([0.5 * math.log(4), 0.0])


def test_differentiable_at_zero_likes() -> None:
    likes = torch.tensor([0.0, 1.0, 20.0], requires_grad=True)
    rater.popularity(likes, torch.full((3,), 100.0)).sum().backward()
    assert torch.isfinite(likes.grad).all()
    # d/dl (l / n ln l) = (ln l + 1) / n
    assert likes.grad[2].item() == pytest.approx((math.log(20) + 1) / 100, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(plays=st.integers(1, 10**9), share=st.floats(0.0, 1.0))
def test_grows_with_likes_and_falls_with_plays(plays: int, share: float) -> None:
    likes = int(plays * share)
    here = rater.popularity(likes, plays)
    assert 0.0 <= here <= math.log(plays) + 1e-12
    assert rater.popularity(likes, plays + 1) <= here
    if likes + 1 <= plays:
        assert rater.popularity(likes + 1, plays) >= here
