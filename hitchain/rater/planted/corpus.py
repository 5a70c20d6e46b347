"""The songs on disk: rendered once, measured once, and a manifest for each rule. Killed and run again, it goes on."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """Which songs there are. `songs` and `artists` are of training, validation and test; artists never meet.

    Attributes:
        source: where the songs are from: "synthesised", or the folder of recordings.
    """

    songs: tuple[int, int, int] = (200, 40, 80)
    artists: tuple[int, int, int] = (40, 8, 16)
    seed: int = 0
    source: str = "synthesised"

    def places(self) -> list[tuple[str, int]]:
        """(split, artist) of every song. Any first part of a split's songs is by as many of its artists as can be."""
        places = []
        for number, split in enumerate(SPLITS):
            first = sum(self.artists[:number])
            places += [(split, first + song % self.artists[number]) for song in range(self.songs[number])]
        return places


@dataclass(frozen=True)
class Corpus:
    """Songs with what is measured in them.

    Attributes:
        names: of the files in `folder`/songs. splits, artists: of each.
        measured: measure -> (songs,). features: (songs, features) of `hitchain.rater.features`, for the baseline.
    """

    folder: Path
    names: list[str]
    splits: list[str]
    artists: list[str]
    measured: dict[str, Array]
    features: Array


def synthesiser(plan: Plan) -> Make:
    """The songs of made-up artists."""
    places = plan.places()

    def make(number: int) -> NDArray[np.float32]:
        artist = synth.Artist.of(np.random.default_rng([plan.seed, 1, places[number][1]]))
        return synth.song(artist, np.random.default_rng([plan.seed, 2, number]))

    return make


def corpus(folder: Path, plan: Plan, make: Make) -> Corpus:
    """The songs of a plan, those that `folder` does not hold yet made now.

    Raises:
        UserError: the folder holds the songs of another plan.
    """
    _check_plan(folder, plan)
    places = plan.places()
    names = [f"{split}-{number:05d}.wav" for number, (split, _) in enumerate(places)]
    table = _table(folder, len(names))
    saved = time.monotonic()
    missing = np.flatnonzero(np.isnan(table).any(axis=1))
    with Progress(len(names), "making and measuring songs", len(names) - len(missing), unit="song") as progress:
        for done, number in enumerate(missing, 1):
            table[number] = _one(folder / "songs" / names[number], int(number), make)
            progress.update(len(names) - len(missing) + done)
            if time.monotonic() - saved > SAVE_EVERY:
                _save(folder, table)
                saved = time.monotonic()
    if len(missing):
        _save(folder, table)
    measured = {name: table[:, column] for column, name in enumerate(MEASURES)}
    artists = [f"artist {artist}" for _, artist in places]
    return Corpus(folder, names, [split for split, _ in places], artists, measured, table[:, len(MEASURES) :])


def _one(path: Path, number: int, make: Make) -> Array:
    """A row of the table: what is measured is the file, after its rounding to 16 bits."""
    write_wav(path, torch.from_numpy(make(number)), synth.RATE, "PCM_16")
    audio, rate = read_audio(path)
    found = measure(audio.numpy(), rate)
    return np.concatenate([[found[name] for name in MEASURES], features(audio.numpy(), rate)])


def _check_plan(folder: Path, plan: Plan) -> None:
    path, wanted = folder / "plan.json", {key: _plain(value) for key, value in asdict(plan).items()}
    if path.is_file():
        if read_json(path, "plan") != wanted:
            raise UserError(f"{folder} holds the songs of another plan (see {path}); choose another out=FOLDER.")
    else:
        write_json(path, wanted)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _table(folder: Path, songs: int) -> Array:
    """(songs, measures and features); NaN in the rows that are not measured yet."""
    path, columns = folder / "measured.npy", len(MEASURES) + len(NAMES)
    if not path.is_file():
        return np.full((songs, columns), np.nan)
    try:
        table: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it, and the songs are measured again.") from error
    if table.shape != (songs, columns):
        raise UserError(f"{path} has the shape {table.shape}, not {(songs, columns)}; delete it.")
    return table


def _save(folder: Path, table: Array) -> None:
    with replacing(folder / "measured.npy") as temporary, temporary.open("wb") as handle:
        np.save(handle, table, allow_pickle=False)


def plant(values: Array, ceiling: float, seed: int) -> tuple[Array, Array]:
    """Plays and likes, (songs,) each, whole numbers: p = likes / plays * log(likes) rises with values + noise.

    The noise is normal, and as strong as makes Spearman's correlation of values with values + noise the `ceiling` over
    these songs. How often a song was played says nothing.

    Args:
        values: (songs,) what the rule says, of mean 0 and deviation 1.
        ceiling: in 0.05..1; 1 plants no noise.
    """
    from scipy.special import lambertw

    random = np.random.default_rng([seed, 3])
    noise = random.standard_normal(len(values))
    plays = np.round(10.0 ** random.uniform(6.0, 7.0, len(values)))
    wanted = 0.2 * np.exp(SPREAD * (values + _strength(values, noise, ceiling) * noise))
    total = wanted * plays  # likes * log(likes), solved by Lambert's W: likes = exp(W(total))
    likes = np.round(total / np.real(lambertw(total)))
    return plays, np.minimum(likes, plays)


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
        counts[name] = plant(rule(songs.measured), ceiling, seed + number)
        _write_manifest(songs.folder / f"{name}.csv", songs, *counts[name])
    return counts


def _write_manifest(path: Path, songs: Corpus, plays: Sequence[float] | Array, likes: Sequence[float] | Array) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["path", "plays", "likes", "artist", "split"])
    for name, played, liked, artist, split in zip(songs.names, plays, likes, songs.artists, songs.splits, strict=True):
        writer.writerow([f"songs/{name}", f"{played:.0f}", f"{liked:.0f}", artist, split])
    write_text(path, lines.getvalue())
