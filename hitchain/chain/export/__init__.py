"""`hitchain export RUN_FOLDER format=...`: a finished run for other programs."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hitchain.chain.export.session import Session, open_session
from hitchain.errors import UserError, nearest
from hitchain.files import write_json

FORMATS = {
    "pedalboard": "hitchain.chain.export.pedalboard_script",
    "reaper": "hitchain.chain.export.reaper",
    "dawproject": "hitchain.chain.export.dawproject",
    "sfz": "hitchain.chain.export.sfz",
    "nam-ir": "hitchain.chain.export.impulse",
}
"""The module of each format, whose `write(session, out)` writes a folder and tells what it did."""

KEYS = ("format", "out", "track", "stages")

__all__ = ["FORMATS", "Session", "export", "write_export"]


def export(words: Sequence[str]) -> None:
    """Write a run in another format, and print what was written.

    Raises:
        UserError: no finished run, an unknown key or format, or a track that the song has not.
    """
    folders = [word for word in words if "=" not in word]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for key in given:
        if key not in KEYS:
            raise UserError(f"'{key}=': export has no such key; {nearest(key, KEYS)}")
    if len(folders) != 1 or "format" not in given:
        raise UserError(f"give one run folder and a format: hitchain export RUN_FOLDER format={'|'.join(FORMATS)}")
    kind = given["format"]
    if kind not in FORMATS:
        raise UserError(f"format={kind}: {nearest(kind, FORMATS)}")
    out = Path(given.get("out") or Path(folders[0]) / "export" / kind)
    told = write_export(Path(folders[0]), kind, out, given.get("track"), given.get("stages", "last"))
    for line in told["said"]:
        print(line)
    print(f"written  {out}")


def write_export(folder: Path, kind: str, out: Path, track: str | None = None, stages: str = "last") -> dict[str, Any]:
    """Write a run as `kind`, one of `FORMATS`, into the folder `out`. Returns what stands in its export.json.

    Args:
        folder: of a finished run.
        track: the one track that is meant, for formats of single tracks; all where None.
        stages: of a DAW project: "last" (the stem leaving each track) or "all" (the others beside it, muted).
    """
    session = open_session(folder, track, stages)
    written = importlib.import_module(FORMATS[kind]).write(session, out)
    told: dict[str, Any] = {"format": kind, "run": session.folder.name, **written}
    write_json(out / "export.json", told)
    return told
