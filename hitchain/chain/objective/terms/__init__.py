"""The terms that ship. Importing this package registers them."""

from hitchain.chain.objective.terms import (
    balance,
    harmony,
    levels,
    playlist,
    positions,
    prior,
    realness,
    reference,
    rhythm,
)

__all__ = ["balance", "harmony", "levels", "playlist", "positions", "prior", "realness", "reference", "rhythm"]
