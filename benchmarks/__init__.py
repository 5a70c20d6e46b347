"""Benchmarks: ours and the peers' packages, timed in turn on the same input. `python -m benchmarks --help`."""

import hitchain  # noqa: F401  # before PyTorch is loaded: it keeps idle OpenMP threads from spinning
