"""Playlists from files: tables, JSON lines, M3U and setlists. A playlist is an ordered list of song names."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hitchain.errors import UserError, nearest

SETLIST = "setlistdata.csv"
SHOWS = "showdata.csv"
SONGS = "songdata.csv"
KINDS = (".csv", ".jsonl", ".m3u", ".m3u8")
_ALIASES = {
    "playlist": ("show_id", "showid", "link"),
    "song": ("song_id", "songid", "song"),
    "position": ("position", "in_show_index"),
    "date": ("show_date", "showdate", "date"),
    "title": ("song", "Song Name"),
}
"""What a setlist archive calls a column: every band's site has words of its own."""


@dataclass(frozen=True)
class Playlist:
    """Songs in their order.

    Attributes:
        songs: names, at least one.
        name: of the playlist, within its file.
        date: "2024-06-01", or "" where unknown.
        group: what the playlist belongs to (a band); "" where unknown.
    """

    songs: tuple[str, ...]
    name: str = ""
    date: str = ""
    group: str = ""


def read(path: str | Path) -> list[Playlist]:
    """The playlists of a file or a folder, by date where all have one, else in the order of the files.

    A table (.csv) has the columns playlist, position and song, and may have date and group. JSON lines (.jsonl) hold
    a list of names each, or {"songs": [...], "name": ..., "date": ..., "group": ...}. An .m3u or .m3u8 file is one
    playlist. A folder holding setlistdata.csv, showdata.csv and songdata.csv anywhere is read as setlists, one group
    a folder; any other folder as the playlists of its files.

    Raises:
        UserError: nothing there, a file of another kind, a column missing, a malformed line, or no song at all.
    """
    source = Path(path)
    if not source.exists():
        raise UserError(f"playlists not found: {source}")
    found = list(_folder(source) if source.is_dir() else _file(source))
    if not found:
        raise UserError(f"{source} holds no playlist with a song in it.")
    return sorted(found, key=lambda item: item.date) if all(item.date for item in found) else found


def _folder(folder: Path) -> Iterator[Playlist]:
    setlists = sorted(folder.rglob(SETLIST))
    if setlists:
        for file in setlists:
            yield from _setlists(file)
        return
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in KINDS and file.is_file())
    if not files:
        raise UserError(f"folder {folder} holds no playlists: neither {SETLIST} nor a file of {', '.join(KINDS)}.")
    for file in files:
        yield from _file(file)


def _file(file: Path) -> Iterator[Playlist]:
    if file.name == SETLIST:
        return _setlists(file)
    readers: dict[str, Callable[[Path], Iterator[Playlist]]] = {
        ".csv": _table,
        ".jsonl": _json_lines,
        ".m3u": _m3u,
        ".m3u8": _m3u,
    }
    if file.suffix.lower() not in readers:
        raise UserError(f"{file} is not a playlist file; {', '.join(KINDS)} and folders of them can be read.")
    return readers[file.suffix.lower()](file)


def _table(file: Path) -> Iterator[Playlist]:
    rows = _rows(file, ("playlist", "position", "song"))
    yield from _gathered(file, rows, {name: name for name in ("playlist", "position", "song", "date", "group")})


def _setlists(file: Path) -> Iterator[Playlist]:
    """A band's setlists: the rows of setlistdata.csv, with dates of showdata.csv and titles of songdata.csv."""
    rows = _rows(file, ())
    columns = {name: _alias(file, rows, name) for name in ("playlist", "song", "position")}
    group = file.parent.parent.name if file.parent.name == "collected" else file.parent.name
    # A site's own numbers stand for songs and shows; one that writes titles and dates into the rows needs no more.
    titles, dates = {}, {}
    if columns["song"] != "song":
        titles = _lookup(file.with_name(SONGS), ("song_id",), "title")
    if not any(name in rows[0] for name in _ALIASES["date"]):
        dates = _lookup(file.with_name(SHOWS), _ALIASES["playlist"], "date")
    for row in rows:
        song = row[columns["song"]]
        row["title"] = titles.get(song, f"#{song}") if columns["song"] != "song" else song
        row["day"] = _iso(dates.get(row[columns["playlist"]], "") or row.get("date", ""))
        row["band"] = group
    yield from _gathered(file, rows, {**columns, "song": "title", "date": "day", "group": "band"})


def _lookup(file: Path, keys: Sequence[str], value: str) -> dict[str, str]:
    rows = _rows(file, ())
    key = next((name for name in keys if name in rows[0]), None)
    if key is None:
        raise UserError(f"{file} has no column {keys[0]!r}; {nearest(keys[0], rows[0])}")
    column = _alias(file, rows, value)
    return {row[key]: row[column] for row in rows}


def _alias(file: Path, rows: Sequence[Mapping[str, str]], name: str) -> str:
    for alias in _ALIASES[name]:
        if alias in rows[0]:
            return alias
    raise UserError(f"{file} has no column {_ALIASES[name][0]!r}; {nearest(_ALIASES[name][0], rows[0])}")


def _iso(date: str) -> str:
    """2024-06-01, also from 06/01/2024."""
    american = re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", date.strip())
    return f"{american[3]}-{american[1]}-{american[2]}" if american else date.strip()


def _rows(file: Path, wanted: Iterable[str]) -> list[dict[str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, restval="")
            columns = list(reader.fieldnames or [])
            for name in wanted:
                if name not in columns:
                    hint = nearest(name, columns) if columns else "the file is empty."
                    raise UserError(f"{file} has no column {name!r}; {hint}")
            rows = [{key: str(value) for key, value in row.items() if key is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {file}: {error}. It must be a CSV file in UTF-8.") from error
    if not rows:
        raise UserError(f"{file} has no rows.")
    return rows


def _gathered(file: Path, rows: Iterable[Mapping[str, str]], columns: Mapping[str, str]) -> Iterator[Playlist]:
    """Rows gathered by playlist and put in the order of their positions."""
    gathered: dict[str, list[tuple[float, Mapping[str, str]]]] = {}
    for line, row in enumerate(rows, start=2):
        song = row[columns["song"]].strip()
        if not song:
            raise UserError(f"{file}, row {line}: column {columns['song']!r} is empty.")
        position = _position(file, line, columns["position"], row)
        gathered.setdefault(row[columns["playlist"]], []).append((position, row))
    for name, members in gathered.items():
        members.sort(key=lambda member: member[0])
        first = members[0][1]
        yield Playlist(
            songs=tuple(row[columns["song"]].strip() for _, row in members),
            name=name,
            date=first.get(columns["date"], "").strip(),
            group=first.get(columns["group"], "").strip(),
        )


def _position(file: Path, line: int, column: str, row: Mapping[str, str]) -> float:
    try:
        position = float(row[column])
    except ValueError:
        position = float("nan")
    if not abs(position) < float("inf"):
        raise UserError(f"{file}, row {line}: column {column!r} is {row[column]!r}; it must be a number.")
    return position


def _json_lines(file: Path) -> Iterator[Playlist]:
    for line, text in enumerate(_text(file).splitlines(), start=1):
        if not text.strip():
            continue
        where = f"{file}, line {line}"
        try:
            value: Any = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{where} is not valid JSON: {error}") from error
        about = value if isinstance(value, dict) else {"songs": value}
        for key in about:
            if key not in ("songs", "name", "date", "group"):
                raise UserError(f"{where}: unknown key {key!r}; {nearest(key, ('songs', 'name', 'date', 'group'))}")
        songs = about.get("songs")
        if not isinstance(songs, list) or not all(isinstance(song, str) and song.strip() for song in songs):
            raise UserError(f"{where} must be a list of song names, or an object with such a list under 'songs'.")
        if songs:
            words = {key: str(about.get(key, "")) for key in ("name", "date", "group")}
            yield Playlist(tuple(song.strip() for song in songs), **words)


def _m3u(file: Path) -> Iterator[Playlist]:
    """One playlist; a song's name is the title of its #EXTINF line, else its file's name without the ending."""
    songs, title = [], ""
    for text in _text(file).splitlines():
        line = text.strip()
        if line.startswith("#EXTINF:"):
            title = line.partition(",")[2].strip()
        elif line and not line.startswith("#"):
            songs.append(title or PurePosixPath(line.replace("\\", "/")).stem)
            title = ""
    if songs:
        yield Playlist(tuple(songs), name=file.stem)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}. It must be text in UTF-8.") from error
