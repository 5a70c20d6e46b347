"""What the ascent climbs: a rating, weighted terms beside it, and constraints."""

from hitchain.chain.objective.judge import Judge, RaterFailed
from hitchain.chain.objective.objective import Objective, Score, Weighted
from hitchain.chain.objective.term import Heard, Term

__all__ = ["Heard", "Judge", "Objective", "RaterFailed", "Score", "Term", "Weighted"]
