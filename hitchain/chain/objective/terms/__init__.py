"""The terms that ship. Importing this package registers them."""

from hitchain.chain.objective.terms import positions

__all__ = ["positions"]
