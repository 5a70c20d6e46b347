"""What every test runs under: one thread for each parallel worker, and one profile of generated examples."""

from __future__ import annotations

import os

import hitchain  # first: it sets how OpenMP waits, before PyTorch is loaded  # isort: skip  # noqa: F401
import torch
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

settings.register_profile(
    "hitchain",
    deadline=None,  # the first example compiles kernels
    max_examples=8,
    derandomize=True,  # a failure on one machine is a failure on all
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("hitchain")
