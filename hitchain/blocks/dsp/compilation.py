"""Saying that kernels are being compiled: once in a process, and only where the compiled code is not in the cache."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

LOG = logging.getLogger("hitchain")


@lru_cache(maxsize=1)
def announce() -> None:
    """From now on, tell the log when numba compiles. Loading from its cache is no compilation."""
    from numba.core import event

    class Listener(event.Listener):
        told = False

        def on_start(self, event: Any) -> None:
            if not self.told:
                LOG.info("compiling signal processors for this machine, at first use; they are kept for the next time")
            self.told = True

        def on_end(self, event: Any) -> None:
            """Nothing to say."""

    event.register("numba:compile", Listener())  # type: ignore[no-untyped-call]
