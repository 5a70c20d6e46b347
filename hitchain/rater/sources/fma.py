"""The Free Music Archive's own layout: fma_metadata/tracks.csv, and clips as 000/000002.mp3.

tracks.csv has three header rows: the group of a column (album, artist, set, track), its name, and "track_id". Plays are
a track's listens, likes its favorites; the date is the upload's, since when it could be heard (Defferrard et al., "FMA:
A dataset for music analysis", ISMIR 2017).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from hitchain.errors import UserError, nearest
from hitchain.rater.row import Row, Skipped
from hitchain.rater.sources.records import Record, checked
from hitchain.rater.sources.tables import csv_lines

KEYS = ("path", "audio", "subset", "own_split")
EXAMPLE = "data/fma"
TABLE = "tracks.csv"
CLIP_FOLDERS = ("fma_small", "fma_medium", "fma_large", "fma_full", "fma_audio")
SUBSETS = ("small", "medium", "large", "full")
"""Each holds the ones before it; a track's cell names the smallest that it is in."""
COLUMNS = {
    "plays": ("track", "listens"),
    "likes": ("track", "favorites"),
    "artist": ("artist", "name"),
    "date": ("track", "date_created"),
    "genre": ("track", "genre_top"),
    "split": ("set", "split"),
    "subset": ("set", "subset"),
}


def read(
    path: str | Path, audio: str | Path | None = None, subset: str | None = None, own_split: bool = True
) -> tuple[list[Row], list[Skipped]]:
    """The rows of FMA, labelled with their top genre.

    Args:
        path: the folder that holds fma_metadata and the clips, or tracks.csv itself.
        audio: the folder of the clips, in numbered folders or flat; None looks for `CLIP_FOLDERS` under `path`.
        subset: take this subset's tracks only; None takes every row of tracks.csv.
        own_split: whether FMA's own split is taken; else the split follows from the artists' names.

    Raises:
        UserError: the folder does not hold what it should, or tracks.csv is not FMA's.
    """
    if subset is not None and subset not in SUBSETS:
        raise UserError(f"source.subset={subset!r} is unknown; {nearest(str(subset), SUBSETS)}")
    table = _table(Path(path))
    folders = _clip_folders(table, audio)
    try:
        lines = csv_lines(table)
        places = _places(table, [cells for _, cells in (next(lines, (0, [])) for _ in range(3))])
        return checked(table, _records(lines, places, folders, subset, own_split), folders[0])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {table}: {error}. It must be FMA's {TABLE}, CSV in UTF-8.") from error


def _table(path: Path) -> Path:
    candidates = [path] if path.is_file() else [path / "fma_metadata" / TABLE, path / TABLE]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"no FMA metadata under {path}: there is no {candidates[0]}. "
        "Fetch it with: hitchain download fma-small out=FOLDER"
    )


def _clip_folders(table: Path, audio: str | Path | None) -> list[Path]:
    if audio is not None:
        if not Path(audio).is_dir():
            raise UserError(f"source.audio={audio} is not a folder.")
        return [Path(audio)]
    roots = (table.parent, table.parent.parent)
    folders = [root / name for root in roots for name in CLIP_FOLDERS if (root / name).is_dir()]
    if not folders:
        raise UserError(
            f"no clips beside {table}: none of {', '.join(CLIP_FOLDERS)} is there. Give source.audio=FOLDER."
        )
    return folders


def _places(table: Path, header: Sequence[Sequence[str]]) -> dict[str, int]:
    """Where the columns stand."""
    groups, names, third = header
    if third[:1] != ["track_id"]:
        raise UserError(f"{table} does not begin with FMA's three header rows, the third of which is 'track_id'.")
    found = {pair: place for place, pair in enumerate(zip(groups, names, strict=False))}
    for column in COLUMNS.values():
        if column not in found:
            hint = nearest(".".join(column), [".".join(pair) for pair in found if all(pair)])
            raise UserError(f"{table} has no column {'.'.join(column)!r}; {hint}")
    return {key: found[column] for key, column in COLUMNS.items()}


def _records(
    lines: Iterator[tuple[int, list[str]]],
    places: dict[str, int],
    folders: Sequence[Path],
    subset: str | None,
    own_split: bool,
) -> Iterator[Record]:
    taken = None if subset is None else SUBSETS[: SUBSETS.index(subset) + 1]
    for line, row in lines:
        cells = {key: row[place] if place < len(row) else "" for key, place in places.items()}
        if not row[0].isdecimal():
            yield Record(line, row[0], problem=f"track_id is {row[0]!r}; it must be a whole number")
        elif taken is None or cells["subset"] in taken:
            name = clip_name(int(row[0]))
            labels = {"genre": cells["genre"]}
            split = cells["split"] if own_split else ""
            file = _find(name, folders)
            yield Record(
                line, name, cells["plays"], cells["likes"], cells["artist"], cells["date"], split, labels, file
            )


def clip_name(track: int) -> str:
    """Where FMA keeps a track's clip: "000/000002.mp3" for track 2."""
    return f"{track // 1000:03d}/{track:06d}.mp3"


def _find(name: str, folders: Sequence[Path]) -> Path:
    """The clip in a numbered folder or a flat one; where it would be, if it is nowhere."""
    places = [place for folder in folders for place in (folder / name, folder / Path(name).name)]
    return next((place for place in places if place.is_file()), places[0])
