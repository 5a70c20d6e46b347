"""Preparing a source: every recording decoded once, in parallel, to be gone on with after a kill at any moment.

What is finished shows in the folder alone: a shard counts once its part stands beside it. Killed and run again, the
shards without a part are made again, to the same bytes; then the index is written from the parts.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.files import write_json, write_text
from hitchain.progress import Progress
from hitchain.rater import balance, sources
from hitchain.rater.fingerprint import near_duplicates
from hitchain.rater.row import Row, Skipped
from hitchain.rater.shards.layout import (
    FORMAT,
    HEAD,
    INDEX,
    SAMPLE_RATE,
    SHARDS,
    VERSION,
    Entry,
    fingerprints_path,
    read_head,
    to_line,
)
from hitchain.rater.shards.plan import Plan, files_of, prepared_sizes
from hitchain.rater.shards.prepared import Prepared
from hitchain.rater.shards.settings import PrepareSettings
from hitchain.rater.shards.shard import Done, File, Job, Report
from hitchain.rater.splits import Moved, assign

SKIPPED, SPLITS, BALANCE, RESULT = "skipped.csv", "splits.json", "balance.json", "result.json"
SPARE_BYTES = 50e6
"""What is left free on the disk, for the index and everybody else."""

Say = Callable[[str], None]


def prepare(
    source: Mapping[str, Any], out: str | Path, settings: PrepareSettings | None = None, say: Say = print
) -> Prepared:
    """Decode a source into a prepared set, or what is missing of it where `out` holds a part of it already.

    Args:
        source: see `hitchain.rater.sources.read`.
        out: a folder: new, empty, or of an earlier preparation with the same kind and seconds_per_song.
        say: is told a line for each thing done.

    Raises:
        UserError: the source cannot be read or has no usable recording; `out` holds something else or cannot be
            written; the disk is too small; the cluster or a process failed.
    """
    settings, folder, began = settings or PrepareSettings(), Path(out), time.monotonic()
    rows, skipped = sources.read(source)
    head = _begin(folder, settings)
    files = files_of(rows)
    plan = Plan(folder)
    if settings.verify:
        _verify(plan, say)
    work = _work(plan, files, settings, head)
    counter = _Counter(sum(len(job.files) for job in work))
    if work:
        _check_space(folder, work, settings, head)
        with counter:
            _run(work, settings, counter)
    entries, unusable = _collect(folder, rows, files)
    skipped = sorted([*skipped, *unusable], key=lambda row: row.line)
    sources.write_skipped(folder / SKIPPED, skipped)
    if not entries:
        raise UserError(f"the source has no usable recording: {sources.told(skipped)}. See {folder / SKIPPED}.")
    entries, moved = _grouped(folder, entries, settings)
    _write_index(folder, head, entries)
    prepared = Prepared(folder)
    _conclude(prepared, skipped, moved, counter, settings, time.monotonic() - began, say)
    return prepared


def _begin(folder: Path, settings: PrepareSettings) -> dict[str, Any]:
    """The head of the folder; it is made where there is none. Raises `UserError` where the folder is another's."""
    front_end = _front_end(settings.kind)
    wanted = {"kind": settings.kind, "seconds_per_song": settings.seconds_per_song, "front_end": front_end}
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder} is a file; give a folder.")
    if (folder / HEAD).is_file():
        head = read_head(folder)
        for key, value in wanted.items():
            if head.get(key) != value:
                raise UserError(
                    f"{folder} was prepared with {key}={_told(head.get(key))}, not {_told(value)}; choose another "
                    "out=FOLDER, or the same settings to go on with it."
                )
        _clear(folder, ".*-*")
        _clear(folder / SHARDS, ".*-*")
        return head
    _clear(folder, f".{Path(HEAD).stem}-*")
    strange = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if strange:
        raise UserError(f"out={folder} holds something else ({strange[0]}); choose a new or empty folder.")
    head = {"format": FORMAT, "version": VERSION, "complete": False, "sample_rate": SAMPLE_RATE, **wanted}
    write_json(folder / HEAD, head)
    return head


def _clear(folder: Path, pattern: str) -> None:
    """Remove what a killed run was writing: the temporary files of `hitchain.files.replacing`."""
    for rest in folder.glob(pattern):
        rest.unlink(missing_ok=True)


def _front_end(kind: str) -> dict[str, Any] | None:
    if kind != "mel":
        return None
    from hitchain.rater.frontend import FrontEndSettings

    return FrontEndSettings().as_dict()


def _told(value: Any) -> Any:
    return "null" if value is None else value


def _verify(plan: Plan, say: Say) -> None:
    finished = len(plan.parts)
    damaged = plan.verify()
    numbers = f": {', '.join(f'{number:05d}' for number in damaged)}, to be made again" if damaged else ""
    say(f"verified {finished} finished shards, {len(damaged)} damaged{numbers}")


def _work(plan: Plan, files: Sequence[File], settings: PrepareSettings, head: Mapping[str, Any]) -> list[Job]:
    """The shards that are still to be made. New recordings enter the plan."""
    known = plan.known()
    new = [file for file in files if file.key not in known]
    if new:
        sizes = prepared_sizes(new, settings.seconds_per_song, _bytes_per_second(head))
        plan.add(new, sizes, settings.shard_mb * 1e6)
    todo = plan.unfinished(files)
    folder = str(plan.folder.resolve())
    return [
        Job(folder, number, tuple(shard), settings.seconds_per_song, head["front_end"])
        for number, shard in todo.items()
    ]


def _bytes_per_second(head: Mapping[str, Any]) -> float:
    """What a second of a recording takes when prepared."""
    front_end = head["front_end"]
    return SAMPLE_RATE * 4.0 if front_end is None else 4.0 * front_end["mel_bands"] / front_end["hop_seconds"]


def _check_space(folder: Path, work: Sequence[Job], settings: PrepareSettings, head: Mapping[str, Any]) -> None:
    files = [file for job in work for file in job.files]
    needed = sum(prepared_sizes(files, settings.seconds_per_song, _bytes_per_second(head))) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"preparing needs about {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; choose another "
            "out=FOLDER, kind=mel (an eighth of the size) or a shorter seconds_per_song."
        )


def _run(work: Sequence[Job], settings: PrepareSettings, report: Report) -> None:
    (Path(work[0].folder) / SHARDS).mkdir(exist_ok=True)
    if settings.backend == "ray":
        from hitchain.rater.shards import on_ray

        on_ray.run(work, settings.workers, report, settings.ray_address)
    else:
        from hitchain.rater.shards import local

        local.run(work, settings.processes, report)


class _Counter:
    """Counts recordings as they are done, and shows how fast."""

    def __init__(self, total: int) -> None:
        self.progress = Progress(total, "preparing", unit="recording")
        self.recordings, self.audio_seconds, self.bytes, self.seconds = 0, 0.0, 0, 0.0

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self.progress.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def __call__(self, done: Done) -> None:
        self.recordings += 1
        self.audio_seconds += done.seconds
        self.bytes += done.bytes
        self.seconds = time.monotonic() - self._began
        rates = self.rates()
        fields = {"x real time": f"{rates['times_real_time']:.0f}", "MB/s": f"{rates['megabytes_per_second']:.1f}"}
        self.progress.update(self.recordings, **fields)

    def rates(self) -> dict[str, float]:
        """Throughput: recordings a second, seconds of audio a second, and megabytes of the files a second."""
        seconds = max(self.seconds, 1e-9)
        return {
            "recordings_per_second": self.recordings / seconds,
            "times_real_time": self.audio_seconds / seconds,
            "megabytes_per_second": self.bytes / 1e6 / seconds,
        }


def _collect(folder: Path, rows: Sequence[Row], files: Sequence[File]) -> tuple[list[Entry], list[Skipped]]:
    """What the finished shards hold of the rows, in the order of the rows; and the rows found to be unusable."""
    places: dict[tuple[str, int, int], tuple[int, int, int, dict[str, Any]]] = {}
    reasons: dict[tuple[str, int, int], dict[str, Any]] = {}
    for number, part in Plan(folder).parts.items():
        offset = fingerprint_offset = 0
        for recording in part["recordings"]:
            key = (recording["name"], recording["bytes"], recording["modified"])
            places.setdefault(key, (number, offset, fingerprint_offset, recording))
            offset += recording["length"]
            fingerprint_offset += recording["fingerprint"]
        reasons |= {(entry["name"], entry["bytes"], entry["modified"]): entry for entry in part["skipped"]}
    entries, skipped = [], []
    for row, file in zip(rows, files, strict=True):
        if file.key in places:
            number, offset, start, recording = places[file.key]
            where = (start, recording["fingerprint"])
            entries.append(Entry(row, recording["length"], number, offset, "", 0, recording["scale"], where))
        else:
            found = reasons[file.key]
            skipped.append(Skipped(row.line, row.name, found["reason"], found["kind"]))
    return entries, skipped


def _grouped(folder: Path, entries: Sequence[Entry], settings: PrepareSettings) -> tuple[list[Entry], Sequence[Moved]]:
    """The entries with their near-duplicate groups and splits, and those that do not stand where their source said."""
    rows = [entry.row for entry in entries]
    groups = near_duplicates(_fingerprints(folder, entries))
    assignment = assign(rows, groups, settings.fractions, settings.seed, folder / SPLITS)
    return [
        Entry(entry.row, entry.length, entry.shard, entry.offset, side, group, entry.scale, entry.fingerprint)
        for entry, side, group in zip(entries, assignment.sides, groups, strict=True)
    ], assignment.moved


def _fingerprints(folder: Path, entries: Sequence[Entry]) -> list[NDArray[np.uint32]]:
    files = {
        number: np.load(fingerprints_path(folder, number), mmap_mode="r")
        for number in {entry.shard for entry in entries}
    }
    return [files[entry.shard][entry.fingerprint[0] : sum(entry.fingerprint)] for entry in entries]


def _write_index(folder: Path, head: Mapping[str, Any], entries: Sequence[Entry]) -> None:
    """The index, and last the head that describes it: the folder is then complete."""
    text = "".join(to_line(entry) + "\n" for entry in entries)
    write_text(folder / INDEX, text)
    keys = ("bytes", "sha256", "fingerprints_sha256")
    parts = Plan(folder).parts
    shards = [{key: parts[number][key] for key in keys} for number in sorted(parts)]
    about = {"complete": True, "recordings": len(entries), "index_sha256": hashlib.sha256(text.encode()).hexdigest()}
    write_json(folder / HEAD, {**head, **about, "shards": shards})


def _conclude(
    prepared: Prepared,
    skipped: Sequence[Skipped],
    moved: Sequence[Moved],
    counter: _Counter,
    settings: PrepareSettings,
    seconds: float,
    say: Say,
) -> None:
    """result.json and balance.json, and the totals in words."""
    entries, folder = prepared.entries, prepared.folder
    total = sum(prepared.seconds(index) for index in range(len(entries)))
    size = sum(shard["bytes"] for shard in prepared.head["shards"])
    result = {
        "command": "prepare", "seed": settings.seed, "seconds": round(seconds, 3), "settings": asdict(settings),
        "recordings": len(entries), "audio_seconds": round(total, 3), "bytes": size,
        "shards": len(prepared.head["shards"]), "groups": len({entry.group for entry in entries}),
        "splits": {name: len(prepared.by_split(name)) for name in settings.fractions},
        "skipped": sources.counted(skipped), "moved": len(moved), "decoded": counter.recordings, **counter.rates(),
    }  # fmt: skip
    write_json(folder / RESULT, result)
    spread = balance.balance([entry.row for entry in entries], [entry.split for entry in entries])
    write_json(folder / BALANCE, spread)
    shares = ", ".join(f"{count} {name}" for name, count in result["splits"].items())
    say(
        f"prepared {len(entries)} recordings, {total / 3600:.2f} h, {size / 1e6:.0f} MB in {result['shards']} shards; "
        f"{folder}"
    )
    say(f"splits   {shares}; {result['groups']} groups of the same music")
    if moved:
        say(f"moved    {len(moved)} where the source's split, or new rows, would have leaked  ({folder / SPLITS})")
    say(f"skipped  {sources.told(skipped)}  ({folder / SKIPPED})")
    say(balance.told(spread))
    if counter.recordings:
        rates = counter.rates()
        say(
            f"decoded  {counter.recordings} now, {counter.seconds:.1f} s: "
            f"{rates['recordings_per_second']:.2f} recordings/s, {rates['times_real_time']:.0f} x real time, "
            f"{rates['megabytes_per_second']:.1f} MB/s read"
        )
