"""Splits: which recordings train, which validate, and which are never looked at before the end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from hitchain.errors import UserError
from hitchain.rater.row import Row


def split_by_artist(rows: Iterable[Row], fractions: Mapping[str, float], seed: int = 0) -> dict[str, list[Row]]:
    """Rows parted so that no artist is in two parts.

    An artist's part follows from a hash of the name and the seed alone: it does not change when rows are added, removed
    or reordered. Names that differ only in case or surrounding space are one artist.

    Args:
        fractions: part name -> share of the artists; the shares must sum to 1.
    """
    total = sum(fractions.values())
    if not fractions or abs(total - 1.0) > 1e-6 or min(fractions.values()) < 0.0:
        raise UserError(f"the shares of a split must be 0 or more and sum to 1, not {dict(fractions)}.")
    parts: dict[str, list[Row]] = {name: [] for name in fractions}
    for row in rows:
        parts[_part(row.artist, fractions, seed)].append(row)
    return parts


def _part(artist: str, fractions: Mapping[str, float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed}/{artist.strip().casefold()}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, share in fractions.items():
        place -= share
        if place < 0.0:
            return name
    return next(reversed(list(fractions)))
