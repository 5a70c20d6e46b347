"""What the ascent climbs: a rating, weighted terms beside it, and constraints."""

from hitchain.chain.objective.constraint import Constraint
from hitchain.chain.objective.front import Front
from hitchain.chain.objective.judge import Judge, RaterFailed
from hitchain.chain.objective.objective import Objective, Score, Weighted
from hitchain.chain.objective.rating import Rating
from hitchain.chain.objective.robustness import Robustness
from hitchain.chain.objective.term import Heard, Term

__all__ = [
    "Constraint",
    "Front",
    "Heard",
    "Judge",
    "Objective",
    "RaterFailed",
    "Rating",
    "Robustness",
    "Score",
    "Term",
    "Weighted",
]
