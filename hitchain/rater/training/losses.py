"""Losses of a rater: squared error of the standardised target, ranking of pairs, and classes beside them.

The ranking loss follows Yu, Yang, Hung and Chen, "Hit Song Prediction for Pop Music by Siamese CNN with Ranking Loss"
(arXiv 1710.10814): two songs go through the same network, and their ratings should be in the order of their
popularity; used beside the squared error. Here every crop of a batch is in several pairs, so a pair costs no more than
a crop. Its A/B sampling draws each pair from two sets, the popular songs (A) and the others (B): most songs of a
skewed collection are hardly played at all, and pairs among those are decided by chance.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def squared_error(ratings: Tensor, targets: Tensor) -> Tensor:
    """Mean of (rating - target)^2 over the songs whose target is known (not NaN); 0 where there are none.

    Shape:
        - ratings, targets: (batch,)
        - output: ()
    """
    known = ~torch.isnan(targets)
    return (ratings - torch.where(known, targets, ratings.detach()))[known].square().sum() / known.sum().clamp_min(1)


def ranking(ratings: Tensor, targets: Tensor, margin: float, above: float | None = None) -> Tensor:
    """Mean of max(0, margin - (rating_i - rating_j)) over the pairs with target_i > target_j; 0 where there are none.

    Args:
        ratings, targets: (batch,); an unknown target is NaN, and in no pair.
        margin: how far apart two ratings should be, in the ratings' own unit.
        above: A/B pairs only: target_i at or above this, target_j under it. None takes all pairs.

    Returns:
        A scalar.
    """
    higher = targets[:, None] > targets[None, :]  # a comparison with NaN is false
    if above is not None:
        higher = higher & (targets >= above)[:, None] & (targets < above)[None, :]
    missed = (margin - (ratings[:, None] - ratings[None, :])).clamp_min(0.0)
    return torch.where(higher, missed, 0.0).sum() / higher.sum().clamp_min(1)


def classes(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy of every head in nats over the songs that have its label, summed over the heads.

    Args:
        logits: head -> (batch, classes).
        labels: head -> (batch,), the number of the class; -1 where the label is missing.

    Returns:
        A scalar; a head none of whose labels is known adds 0.
    """
    total = torch.zeros(())
    for head, scores in logits.items():
        known = labels[head] >= 0
        chosen = torch.log_softmax(scores.float(), dim=1).gather(1, labels[head].clamp_min(0)[:, None])[:, 0]
        total = total.to(chosen) - torch.where(known, chosen, 0.0).sum() / known.sum().clamp_min(1)
    return total
