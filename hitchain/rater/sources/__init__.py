"""Sources: where recordings, their counts and labels come from. Each is a config of the group `source`.

    rows, skipped = sources.read({"kind": "manifest", "path": "songs.csv"})

Rows that cannot be used are not an error: they are named with a kind and a reason, and the rest trains.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.rater.row import Row, Skipped
from hitchain.rater.sources.skipping import KINDS, counted, told, write_skipped

__all__ = ["KINDS", "SOURCES", "counted", "read", "told", "write_skipped"]

SOURCES = ("manifest", "fma", "folder")


def read(section: Mapping[str, Any]) -> tuple[list[Row], list[Skipped]]:
    """The usable rows of a source, in its own order, and the rows that cannot be used.

    Args:
        section: `kind`, one of `SOURCES`, and what that source's `read` takes: conf/source/KIND.yaml holds the same
            keys with the same defaults.

    Raises:
        UserError: an unknown kind or key, or the source as a whole cannot be read.
    """
    kind = section.get("kind")
    if kind not in SOURCES:
        raise UserError(f"unknown kind of source {kind!r}; {nearest(str(kind), SOURCES)} Choose one with source=KIND.")
    module = importlib.import_module(f"{__name__}.{kind}")
    settings = {str(key): value for key, value in section.items() if key != "kind"}
    for key in settings:
        if key not in module.KEYS:
            raise UserError(f"unknown key 'source.{key}' of a source of kind '{kind}'; {nearest(key, module.KEYS)}")
    if not settings.get("path"):
        raise UserError(f"a source of kind '{kind}' needs its place: give source.path={module.EXAMPLE}.")
    result: tuple[list[Row], list[Skipped]] = module.read(**settings)
    return result
