"""The songs on disk: rendered once, measured once, and a manifest for each rule. Killed and run again, it goes on."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.files import read_audio, read_json, replacing, write_json, write_text, write_wav
from hitchain.progress import Progress
from hitchain.rater.evaluation.metrics import spearman
from hitchain.rater.features import NAMES, features
from hitchain.rater.planted import synth
from hitchain.rater.planted.rules import MEASURES, RULES, measure
from hitchain.rater.row import SPLITS

Array = NDArray[np.float64]
Make = Callable[[int], NDArray[np.float32]]
"""The number of a song -> its audio (2, samples) at `synth.RATE`."""

SAVE_EVERY = 10.0
SPREAD = 0.3
"""How far log p goes for a deviation of the rule: p is skewed, as popularity is, but not wildly."""


@dataclass(frozen=True)
class Plan:
    """Which songs there are. Artists of training, validation and test never meet.

    A plan can grow by training songs, which come after all others and leave those as they are.

    Attributes:
        songs, artists: of training, validation and test. more: training songs that were added.
        fresh: how many added songs a new artist has; 0 where the training artists go on.
        source: where the songs are from: "synthesised", or the folder of recordings.
    """

    songs: tuple[int, int, int] = (200, 40, 80)
    artists: tuple[int, int, int] = (40, 8, 16)
    seed: int = 0
    source: str = "synthesised"
    fresh: int = 5
    more: int = 0

    @property
    def base(self) -> int:
        """Songs without those that were added."""
        return sum(self.songs)

    def places(self) -> list[tuple[str, int]]:
        """(split, artist) of every song. Any first part of a split's songs is by as many of its artists as can be."""
        places = []
        for number, split in enumerate(SPLITS):
            first = sum(self.artists[:number])
            places += [(split, first + song % self.artists[number]) for song in range(self.songs[number])]
        for song in range(self.more):
            new = sum(self.artists) + song // self.fresh if self.fresh else song % self.artists[0]
            places.append((SPLITS[0], new))
        return places

    def within(self, folder: Path) -> Plan:
        """This plan as the growth of the one whose songs `folder` holds; itself where that holds none.

        Raises:
            UserError: the folder holds other songs.
        """
        path = folder / "plan.json"
        if not path.is_file():
            return self
        kept = read_json(path, "plan")
        try:
            training, artists = int(kept["songs"][0]), int(kept["artists"][0])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UserError(f"{path} is no plan of songs; choose another out=FOLDER.") from error
        grown = replace(
            self, songs=(training, *self.songs[1:]), artists=(artists, *self.artists[1:]),
            more=max(0, self.songs[0] - training),
        )  # fmt: skip
        if kept != grown.as_dict():
            raise UserError(f"{folder} holds the songs of another plan (see {path}); choose another out=FOLDER.")
        return grown

    def as_dict(self) -> dict[str, Any]:
        """What plan.json holds: all but what was added."""
        return {
            "songs": list(self.songs), "artists": list(self.artists), "seed": self.seed, "source": self.source,
            "fresh": self.fresh,
        }  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """Songs with what is measured in them.

    Attributes:
        names: of the files in `folder`/songs. splits, artists: of each.
        measured: measure -> (songs,). features: (songs, features) of `hitchain.rater.features`, for the baseline.
        base: so many come first, by which rules are standardised and noise is weighed; the others were added.
    """

    folder: Path
    names: list[str]
    splits: list[str]
    artists: list[str]
    measured: dict[str, Array]
    features: Array
    base: int


def synthesiser(plan: Plan) -> Make:
    """The songs of made-up artists."""
    places = plan.places()

    def make(number: int) -> NDArray[np.float32]:
        artist = synth.Artist.of(np.random.default_rng([plan.seed, 1, places[number][1]]))
        return synth.song(artist, np.random.default_rng([plan.seed, 2, number]))

    return make


def corpus(folder: Path, plan: Plan, make: Make) -> Corpus:
    """The songs of a plan (see `Plan.within`), those that `folder` does not hold yet made now."""
    if not (folder / "plan.json").is_file():
        write_json(folder / "plan.json", plan.as_dict())
    places = plan.places()
    names = [f"{split}-{number:05d}.wav" for number, (split, _) in enumerate(places)]
    table = _table(folder, len(names))
    saved = time.monotonic()
    missing = np.flatnonzero(np.isnan(table[: len(names)]).any(axis=1))
    with Progress(len(names), "making and measuring songs", len(names) - len(missing), unit="song") as progress:
        for done, number in enumerate(missing, 1):
            table[number] = _one(folder / "songs" / names[number], int(number), make)
            progress.update(len(names) - len(missing) + done)
            if time.monotonic() - saved > SAVE_EVERY:
                _save(folder, table)
                saved = time.monotonic()
    if len(missing):
        _save(folder, table)
    table = table[: len(names)]
    measured = {name: table[:, column] for column, name in enumerate(MEASURES)}
    artists = [f"artist {artist}" for _, artist in places]
    splits = [split for split, _ in places]
    return Corpus(folder, names, splits, artists, measured, table[:, len(MEASURES) :], plan.base)


def _one(path: Path, number: int, make: Make) -> Array:
    """A row of the table: what is measured is the file, after its rounding to 16 bits."""
    write_wav(path, torch.from_numpy(make(number)), synth.RATE, "PCM_16")
    audio, rate = read_audio(path)
    found = measure(audio.numpy(), rate)
    return np.concatenate([[found[name] for name in MEASURES], features(audio.numpy(), rate)])


def _table(folder: Path, songs: int) -> Array:
    """(songs, measures and features); NaN in the rows that are not measured yet."""
    path, columns = folder / "measured.npy", len(MEASURES) + len(NAMES)
    if not path.is_file():
        return np.full((songs, columns), np.nan)
    try:
        table: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and the songs are measured again.") from error
    if table.ndim != 2 or table.shape[1] != columns:
        raise UserError(f"{path} has the shape {table.shape}, not {(songs, columns)}; delete it.")
    grown = np.full((max(songs, len(table)), columns), np.nan)
    grown[: len(table)] = table
    return grown


def _save(folder: Path, table: Array) -> None:
    with replacing(folder / "measured.npy") as temporary, temporary.open("wb") as handle:
        np.save(handle, table, allow_pickle=False)


def plant(values: Array, ceiling: float, seed: int, base: int | None = None) -> tuple[Array, Array]:
    """Plays and likes, (songs,) each, whole numbers: p = likes / plays * log(likes) rises with values + noise.

    The noise is normal, and as strong as makes Spearman's correlation of values with values + noise the `ceiling` over
    the first `base` songs, all by default. How often a song was played says nothing. Songs after the first `base` leave
    the counts of those as they are.

    Args:
        values: (songs,) what the rule says, of mean 0 and deviation 1.
        ceiling: in 0.05..1; 1 plants no noise.
    """
    from scipy.special import lambertw

    count = len(values) if base is None else base
    noise, plays = _chance(np.random.default_rng([seed, 3]), count)
    strength = _strength(values[:count], noise, ceiling)
    for number in range(count, len(values)):  # each its own, so that it does not matter how many there are
        more = _chance(np.random.default_rng([seed, 3, number]), 1)
        noise, plays = np.append(noise, more[0]), np.append(plays, more[1])
    wanted = 0.2 * np.exp(SPREAD * (values + strength * noise))
    total = wanted * plays  # likes * log(likes), solved by Lambert's W: likes = exp(W(total))
    likes = np.round(total / np.real(lambertw(total)))
    return plays, np.minimum(likes, plays)


def _chance(random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Noise of deviation 1, and plays."""
    noise = random.standard_normal(count)
    return noise, np.round(10.0 ** random.uniform(6.0, 7.0, count))


def _strength(values: Array, noise: Array, ceiling: float) -> float:
    """How strong the noise must be, by bisection: the correlation falls as it rises."""
    low, high = 0.0, 50.0
    if ceiling >= 1.0:
        return low
    for _ in range(40):
        middle = (low + high) / 2.0
        agreement = spearman(values, values + middle * noise) or 0.0
        low, high = (middle, high) if agreement > ceiling else (low, middle)
    return (low + high) / 2.0


def write_manifests(songs: Corpus, ceiling: float, seed: int) -> dict[str, tuple[Array, Array]]:
    """A manifest for each rule, FOLDER/RULE.csv, for any command that takes one; rule -> (plays, likes)."""
    counts = {}
    for number, (name, rule) in enumerate(RULES.items()):
        counts[name] = plant(rule(songs.measured, songs.base), ceiling, seed + number, songs.base)
        _write_manifest(songs.folder / f"{name}.csv", songs, *counts[name])
    return counts


def _write_manifest(path: Path, songs: Corpus, plays: Sequence[float] | Array, likes: Sequence[float] | Array) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["path", "plays", "likes", "artist", "split"])
    for name, played, liked, artist, split in zip(songs.names, plays, likes, songs.artists, songs.splits, strict=True):
        writer.writerow([f"songs/{name}", f"{played:.0f}", f"{liked:.0f}", artist, split])
    write_text(path, lines.getvalue())
