"""The appeal rater: how it was made. See MODEL_CARD.md beside this file; using it needs none of these modules.

`python -m hitchain.rater.appeal.build` makes the weights, `python -m hitchain.rater.appeal.evaluate` measures them.
"""
