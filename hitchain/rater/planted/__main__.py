"""Does a rating network hear a rule that is known? The learning curve of planted labels.

    python -m hitchain.rater.planted out=FOLDER [songs=50,100,200] [rules=drums,repetition] [ceiling=0.9]
                                     [recordings=FOLDER] [test_songs=80] [seed=0] [device=cpu]

Killed and run again with the same words, it goes on; with more songs, it adds to what is there. Writes
FOLDER/report.html, FOLDER/result.json and, for any other command that takes a manifest, FOLDER/RULE.csv beside
FOLDER/songs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hitchain.devices import usable_device
from hitchain.errors import UserError, nearest
from hitchain.files import write_json
from hitchain.rater.planted import recordings as real
from hitchain.rater.planted.corpus import Corpus, Plan, corpus, synthesiser, write_manifests
from hitchain.rater.planted.curve import SHORT, Curve, Point
from hitchain.rater.planted.report import markdown, write_page
from hitchain.rater.planted.rules import RULES
from hitchain.rater.shards.preparation import prepare
from hitchain.rater.shards.settings import PrepareSettings

DEFAULTS = {
    "out": "", "songs": "50,100,200", "rules": ",".join(RULES), "ceiling": "0.9", "recordings": "",
    "test_songs": "80", "seed": "0", "device": "cpu",
}  # fmt: skip
SONGS_OF_AN_ARTIST = 5


@dataclass(frozen=True)
class Words:
    """What a run was asked for; see the module."""

    out: Path
    sizes: tuple[int, ...]
    rules: tuple[str, ...]
    ceiling: float
    recordings: str
    test_songs: int
    seed: int
    device: str

    @classmethod
    def of(cls, words: Sequence[str]) -> Words:
        """Raises `UserError` for a key that is unknown or a value that cannot be used."""
        known = dict(DEFAULTS)
        for word in words:
            key, _, value = word.partition("=")
            if key not in known:
                raise UserError(f"'{word}': planted labels have no key '{key}'; {nearest(key, known)}")
            known[key] = value
        if not known["out"]:
            raise UserError("give a folder for songs and trainings: out=planted.")
        rules = tuple(known["rules"].split(","))
        for rule in rules:
            if rule not in RULES:
                raise UserError(f"rules={known['rules']}: no rule is called {rule!r}; {nearest(rule, RULES)}")
        usable_device(known["device"])
        sizes = sorted({_whole("songs", size, 10) for size in known["songs"].split(",")})
        return cls(
            Path(known["out"]), tuple(sizes), rules, _ceiling(known["ceiling"]), known["recordings"],
            _whole("test_songs", known["test_songs"], 10), _whole("seed", known["seed"], 0), known["device"],
        )  # fmt: skip


def _whole(key: str, text: str, lowest: int) -> int:
    if not text.isdigit() or int(text) < lowest:
        raise UserError(f"{key}={text} should be whole numbers, {lowest} or more.")
    return int(text)


def _ceiling(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 1.0:
        raise UserError(f"ceiling={text} should be a number from 0.05 to 1.")
    return value


def main(words: Sequence[str]) -> list[Point]:
    """Run what the words ask for; print the tables, and return what is in them."""
    asked = Words.of(words)
    songs = _songs(asked)
    counts = write_manifests(songs, asked.ceiling, asked.seed)
    section = {"kind": "manifest", "path": str(asked.out / f"{next(iter(RULES))}.csv")}
    prepared = prepare(
        section, asked.out / "prepared", PrepareSettings(kind="mel", workers=1, seed=asked.seed),
        say=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip
    points: list[Point] = []
    for rule in asked.rules:
        curve = Curve(rule, songs, prepared, counts[rule], asked.out / "trainings", asked.seed, asked.device)
        for point in _points(curve, asked.sizes):
            points.append(point)
            _write(asked, songs, points)
    print(markdown(points))
    return points


def _songs(asked: Words) -> Corpus:
    """The songs that the words ask for: two artists or more on every side."""
    songs = (max(asked.sizes), max(10, asked.test_songs // 2), asked.test_songs)
    if asked.recordings:
        files = real.recordings_in(asked.recordings)
        plan = real.plan_of(files, songs, asked.seed, asked.recordings).within(asked.out)
        return corpus(asked.out, plan, real.cutter(files, plan))
    training, validation, test = (max(2, count // SONGS_OF_AN_ARTIST) for count in songs)
    plan = Plan(songs, (training, validation, test), asked.seed, fresh=SONGS_OF_AN_ARTIST).within(asked.out)
    return corpus(asked.out, plan, synthesiser(plan))


def _points(curve: Curve, sizes: Sequence[int]) -> Iterator[Point]:
    yield curve.ceiling()
    for size in sizes:
        yield curve.trees(size)
    for size in sizes:
        yield curve.network(size)
    if curve.rule in SHORT:
        seconds = SHORT[curve.rule]
        yield curve.network(max(sizes), f"network, {seconds:g} s at a time", crop_seconds=seconds)


def _write(asked: Words, songs: Corpus, points: Sequence[Point]) -> None:
    """Report and figures so far, after every point."""
    source = f"pieces of {asked.recordings}" if asked.recordings else "synthesised songs"
    test = sum(split == "test" for split in songs.splits)
    about = f"{source} · {test} test songs by {_artists(songs)} artists never heard · ceiling about {asked.ceiling:g}"
    write_page(asked.out / "report.html", points, about)
    write_json(asked.out / "result.json", {"command": "planted", "points": [asdict(point) for point in points]})


def _artists(songs: Corpus) -> int:
    return len({artist for artist, split in zip(songs.artists, songs.splits, strict=True) if split == "test"})


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"hitchain: {error}")
