"""The learning curve: the ordinary trainer on more and more songs, measured on artists that were never heard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.rater import trees
from hitchain.rater.evaluation.bootstrap import clusters, interval, measure
from hitchain.rater.evaluation.metrics import spearman
from hitchain.rater.evaluation.recordings import PreparedRecordings
from hitchain.rater.features import NAMES
from hitchain.rater.planted.corpus import Corpus
from hitchain.rater.planted.rules import RULES
from hitchain.rater.rater import load
from hitchain.rater.shards.layout import Entry
from hitchain.rater.shards.prepared import Prepared
from hitchain.rater.training.run import train
from hitchain.rater.training.settings import TrainSettings

Array = NDArray[np.float64]

WANTED = 0.9
"""The share of the ceiling that a network should reach."""
RESAMPLES = 1000
STEPS = {"tempo_and_brightness": 1200, "drums": 800, "repetition": 800}
"""Rule -> steps of the optimiser, whatever the number of songs: fewer are heard more often."""
PATIENCE = 1500
"""Steps without a better epoch that end a training early: none here, since 40 validation songs cannot say."""

NETWORKS: dict[str, dict[str, Any]] = {
    # No stretch or equaliser, and little pitch: they would change what the rule is about.
    "tempo_and_brightness": {"crop_seconds": 6.0, "pitch_semitones": 0.0, "stretch": 0.0},
    "drums": {"crop_seconds": 6.0, "pitch_semitones": 1.0, "stretch": 0.0},
    # Sections can only be heard to come back where all of them are heard.
    "repetition": {"crop_seconds": 12.0, "crops_per_song": 1, "pitch_semitones": 5.0, "stretch": 0.0, "eq_db": 9.0},
}
"""Rule -> what its network is trained with, beside `COMMON`."""
COMMON: dict[str, Any] = {
    "architecture": "self_similarity", "crops_per_song": 2, "batch_size": 16, "learning_rate": 2e-3,
    "weight_decay": 0.05, "ema": 0.99,
}  # fmt: skip
SHORT: dict[str, float] = {"repetition": 3.0}
"""Rule -> crops too short for it [s], to show on all songs what the context is worth."""


@dataclass(frozen=True)
class Point:
    """A place on the curve. Each measure is {"value", "low", "high"} of Spearman's correlation on the test songs.

    Attributes:
        name: of the system. songs: it was trained on.
        correlation: with the noisy p. share: of the ceiling, on the same draws. without_noise: with the rule itself.
        seconds: that the training took; 0 for trees.
    """

    rule: str
    name: str
    songs: int
    correlation: Mapping[str, float | None]
    share: Mapping[str, float | None]
    without_noise: float | None
    seconds: float = 0.0


class Part:
    """Some recordings of a prepared set, with the plays and likes of a rule: what the trainer needs of a set."""

    def __init__(self, prepared: Prepared, counts: Mapping[str, tuple[float, float]], places: Sequence[int]) -> None:
        self.prepared, self.places = prepared, list(places)
        self.kind, self.front_end = prepared.kind, prepared.front_end
        self.entries = [_with_counts(prepared.entries[place], counts) for place in self.places]

    def crop(self, index: int, start: int, length: int) -> NDArray[np.float32]:
        """As `Prepared.crop`."""
        return self.prepared.crop(self.places[index], start, length)


def _with_counts(entry: Entry, counts: Mapping[str, tuple[float, float]]) -> Entry:
    plays, likes = counts[entry.row.path.name]
    return replace(entry, row=replace(entry.row, plays=plays, likes=likes))


def settings_of(rule: str, songs: int, seed: int, device: str, **changes: Any) -> TrainSettings:
    """How the network of a rule is trained on so many songs."""
    values = {**COMMON, **NETWORKS[rule], **changes}
    steps_an_epoch = max(1, songs * values["crops_per_song"] // values["batch_size"])
    epochs, patience = (max(2, steps // steps_an_epoch) for steps in (STEPS[rule], PATIENCE))
    return TrainSettings(epochs=epochs, patience=patience, seed=seed, device=device, **values)


class Curve:
    """The curve of one rule.

    Args:
        songs: the corpus. prepared: its prepared set. counts: plays and likes (songs,) of the rule.
        folder: of the trainings; those that are finished there are not run again.
    """

    def __init__(
        self, rule: str, songs: Corpus, prepared: Prepared, counts: tuple[Array, Array], folder: Path, seed: int,
        device: str,
    ) -> None:  # fmt: skip
        self.rule, self.songs, self.prepared, self.folder = rule, songs, prepared, folder
        self.seed, self.device = seed, device
        self.counts = dict(zip(songs.names, zip(*(column.tolist() for column in counts), strict=True), strict=True))
        place = {name: number for number, name in enumerate(songs.names)}
        self.rows = np.array([place[entry.row.path.name] for entry in prepared.entries])  # place in the set -> song
        self.popularity = np.array(
            [_with_counts(entry, self.counts).row.popularity for entry in prepared.entries]
        )  # fmt: skip
        self.value = RULES[rule](songs.measured, songs.base)[self.rows]
        self.test = np.array(prepared.by_split("test"))
        self.heard = PreparedRecordings(prepared.folder)
        self.groups = clusters([prepared.entries[place].row.artist for place in self.test])

    def training(self, songs: int) -> list[int]:
        """The first so many training songs; the artists are dealt evenly."""
        return sorted(self.prepared.by_split("training"), key=lambda place: self.rows[place])[:songs]

    def network(self, songs: int, name: str = "network", **changes: Any) -> Point:
        """Train on so many songs, or take up what was trained, and rate the test songs."""
        settings = settings_of(self.rule, songs, self.seed, self.device, **changes)
        folder = self.folder / self.rule / f"{name.replace(' ', '-')}-{songs}"
        part = Part(
            self.prepared, self.counts, [*self.training(songs), *self.prepared.by_split("validation")]
        )  # fmt: skip
        result = train(part, folder, settings)
        rater = load(folder)
        ratings = [float(self.heard.rate(int(place), rater, settings.crop_seconds)[0]) for place in self.test]
        return self._point(name, songs, np.array(ratings), float(result["seconds"]))

    def trees(self, songs: int) -> Point:
        """Boosted trees on librosa's features of the same songs: no network is needed for these."""
        places = self.training(songs)
        features = self.songs.features[self.rows]
        grown = trees.fit(features[places], self.popularity[places], NAMES, seed=self.seed)
        return self._point("features + trees", songs, grown.predict(features[self.test]))

    def ceiling(self) -> Point:
        """What the rule itself gets: nothing can be expected to get more."""
        return self._point("ceiling", 0, self.value[self.test])

    def _point(self, name: str, songs: int, ratings: Array, seconds: float = 0.0) -> Point:
        value = self.value[self.test]
        systems = {"this": ratings, "ceiling": value}
        metrics = {system: {"spearman": spearman} for system in systems}
        found = measure(self.popularity[self.test], systems, metrics, self.groups, RESAMPLES, self.seed)
        one, most = found.values["this"]["spearman"], found.values["ceiling"]["spearman"]
        share = one / most if one is not None and most else None
        drawn = found.drawn["this"]["spearman"] / found.drawn["ceiling"]["spearman"]
        return Point(
            self.rule, name, songs, found.estimate("this", "spearman").as_dict(), interval(share, drawn).as_dict(),
            spearman(value, ratings), seconds,
        )  # fmt: skip
