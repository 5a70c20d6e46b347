"""Running a compiled kernel over rows on several threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from hitchain.blocks.dsp.compilation import announce


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="hitchain")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has the pool but none of its threads


def over_rows(kernel: Callable[..., None], rows: int, *arguments: Any) -> None:
    """Call `kernel(first, last, *arguments)` on consecutive parts of range(rows), at most one a PyTorch CPU thread.

    The kernel must let go of Python's lock (numba's `nogil=True`) and write only what belongs to its rows. Ordinary
    threads instead of numba's: those may not be entered by two threads at once, which a user's program may well do.
    """
    announce()
    parts = min(torch.get_num_threads(), rows)
    if parts <= 1:
        kernel(0, rows, *arguments)
        return
    edges = [rows * part // parts for part in range(parts + 1)]
    others = [_pool().submit(kernel, begin, end, *arguments) for begin, end in pairwise(edges[1:])]
    kernel(0, edges[1], *arguments)
    for other in others:
        other.result()
