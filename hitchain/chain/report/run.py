"""What a run folder holds, read with tolerance: a piece that is missing or broken is None, and said so."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hitchain.drawing.page import number
from hitchain.errors import UserError

_SIGNS_OF_A_RUN = ("result.json", "config.yaml", "patch.json", "master.wav")


@dataclass(frozen=True)
class Stem:
    """One stage's audio of one track: its file and the stage's name."""

    path: Path
    stage: str


@dataclass(frozen=True)
class Run:
    """The pieces of a run folder.

    Attributes:
        result: what result.json says, {} where there is none.
        history: one mapping a step, in order.
        stems: of each track, in the order of the line.
        config: the text of config.yaml.
        problems: what is missing or cannot be read, in words.
    """

    folder: Path
    result: dict[str, Any]
    history: list[dict[str, Any]]
    stems: dict[str, list[Stem]]
    config: str
    problems: list[str] = field(default_factory=list)

    def audio(self, name: str) -> Path | None:
        """The path of a sound file of the run, if it is there."""
        path = self.folder / name
        return path if path.is_file() else None


def read_run(folder: Path) -> Run:
    """A run folder as data. Raises `UserError` where it is missing or is not a run folder."""
    if not folder.is_dir():
        raise UserError(f"run folder not found: {folder}")
    if not any((folder / name).is_file() for name in _SIGNS_OF_A_RUN):
        raise UserError(f"{folder} is not a run folder: it holds none of {', '.join(_SIGNS_OF_A_RUN)}.")
    problems: list[str] = []
    result = _read_result(folder / "result.json", problems)
    return Run(
        folder=folder,
        result=result,
        history=_read_history(folder / "history.jsonl", problems),
        stems=_in_order(_find_stems(folder / "stems"), result.get("tracks")),
        config=_read_text(folder / "config.yaml", problems),
        problems=problems,
    )


def _read_text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror}.")
        return ""


def _read_result(path: Path, problems: list[str]) -> dict[str, Any]:
    text = _read_text(path, problems)
    try:
        result = json.loads(text) if text else {}
    except (json.JSONDecodeError, RecursionError) as error:
        problems.append(f"{path.name} is not valid JSON: {error}.")
        return {}
    if not isinstance(result, dict):
        problems.append(f"{path.name} holds no mapping.")
        return {}
    return result


def _read_history(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The steps of the climb. A killed run may end in half a line: what cannot be read is counted and left out."""
    if not path.is_file():
        return []
    steps, broken = [], 0
    for line in _read_text(path, problems).splitlines():
        try:
            step = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            broken += bool(line.strip())
            continue
        if isinstance(step, dict) and number(step.get("step")) is not None:
            steps.append(step)
    if broken:
        problems.append(f"{broken} line(s) of {path.name} cannot be read and are left out.")
    return sorted(steps, key=lambda step: float(step["step"]))


def _find_stems(folder: Path) -> dict[str, list[Stem]]:
    if not folder.is_dir():
        return {}
    tracks = {track.name: _stems_of(track) for track in sorted(folder.iterdir()) if track.is_dir()}
    return {name: stems for name, stems in tracks.items() if stems}


def _in_order(stems: dict[str, list[Stem]], tracks: Any) -> dict[str, list[Stem]]:
    """The tracks as the song has them, those it does not name last."""
    known = [name for name in tracks if name in stems] if isinstance(tracks, list) else []
    return {name: stems[name] for name in [*known, *(name for name in stems if name not in known)]}


def _stems_of(track: Path) -> list[Stem]:
    """The files <n>-<stage>.wav by their number."""
    found = [(re.fullmatch(r"(\d+)-(.+)", path.stem), path) for path in sorted(track.glob("*.wav"))]
    numbered = sorted((int(match[1]), match[2], path) for match, path in found if match)
    return [Stem(path, stage) for _, stage, path in numbered]
