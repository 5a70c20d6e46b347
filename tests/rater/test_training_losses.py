"""Losses against formulas written out by hand and torch's own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hitchain.rater.training import losses

NUMBERS = st.lists(st.tuples(st.floats(-3, 3), st.sampled_from([-1.0, 0.0, 0.5, 2.0, np.nan])), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.floats(0.0, 2.0), st.sampled_from([None, 0.5]))
def test_ranking_is_the_mean_hinge_over_pairs(
    rows: list[tuple[float, float]], margin: float, above: float | None
) -> None:
    ratings, targets = (torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in (0, 1))
    hinges = [
        max(0.0, margin - (r1 - r2))
        for r1, t1 in rows
        for r2, t2 in rows
        if t1 > t2 and (above is None or t1 >= above > t2)
    ]
    expected = sum(hinges) / len(hinges) if hinges else 0.0
    np.testing.assert_allclose(float(losses.ranking(ratings, targets, margin, above)), expected, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(NUMBERS)
def test_squared_error_leaves_unknown_targets_out_and_keeps_gradients_finite(rows: list[tuple[float, float]]) -> None:
    ratings, targets = (torch.tensor([row[k] for row in rows], dtype=torch.float64) for k in (0, 1))
    ratings.requires_grad_()
    known = [(r, t) for r, t in rows if not np.isnan(t)]
    loss = losses.squared_error(ratings, targets)
    expected = sum((r - t) ** 2 for r, t in known) / max(1, len(known))
    np.testing.assert_allclose(float(loss.detach()), expected, atol=1e-9)
    loss.backward()
    assert ratings.grad is not None
    assert torch.isfinite(ratings.grad).all()
    assert (ratings.grad[torch.isnan(targets)] == 0).all()


def test_classes_are_cross_entropy_where_labels_are_known() -> None:
    random = torch.Generator().manual_seed(0)
    logits = {"genre": torch.randn(6, 3, generator=random), "amp": torch.randn(6, 2, generator=random)}
    labels = {"genre": torch.tensor([0, 2, -1, 1, -1, 2]), "amp": torch.full((6,), -1)}
    known = labels["genre"] >= 0
    expected = torch.nn.functional.cross_entropy(logits["genre"][known], labels["genre"][known])
    torch.testing.assert_close(losses.classes(logits, labels), expected)


def test_ranking_orders_what_squared_error_would_not_reach() -> None:
    """Gradient steps on ratings alone: all pairs end in order, a margin apart, in whatever unit."""
    targets = torch.tensor([5.0, -1.0, 0.2, 3.0, -2.0])
    ratings = torch.zeros(5, requires_grad=True)
    optimiser = torch.optim.SGD([ratings], lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        losses.ranking(ratings, targets, margin=0.5).backward()
        optimiser.step()
    ordered = ratings.detach()[targets.argsort()]
    assert (ordered.diff() > 0.45).all()
