"""Does an embedding know what comes next? Recall@10 and reciprocal rank on later playlists, against counting.

Playlists are parted by date: the first 80 % are learnt from, the next 10 % choose each method's own settings, and the
last 10 % are tested once, after learning again from the first 90 %. For every song of a test playlist but the first,
a method ranks all songs given those before it; songs already played are left out, for all methods alike. A song never
heard before counts as missed. Intervals are of the bootstrap over playlists.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError
from hitchain.progress import Progress
from hitchain.rater.playlist.embedding import Settings, learn
from hitchain.rater.playlist.playlists import Playlist

Array = NDArray[np.floating[Any]]
Scores = Callable[[Sequence[int]], Array]
"""Places of the songs heard, at least one, the latest last -> a score of every song."""
FEWEST = 20
"""Playlists that a group needs to be parted into three."""
TOP = 10


@dataclass(frozen=True)
class Method:
    """A way to rank what comes next.

    Attributes:
        fit: (playlists, **option) -> the songs it knows, and their scores.
        options: what of it is chosen on validation playlists.
    """

    fit: Callable[..., tuple[Sequence[str], Scores]]
    options: Sequence[Mapping[str, Any]] = ({},)


def popularity(playlists: Sequence[Playlist]) -> tuple[Sequence[str], Scores]:
    """The songs played most, whatever was heard."""
    songs, share = _shares(playlists)
    return songs, lambda heard: share


def what_followed(playlists: Sequence[Playlist], window: int, decay: float) -> tuple[Sequence[str], Scores]:
    """Counts of what followed, nearer counting more, backed off to popularity where little followed.

    P(next | song) = (count(song, next) + 10 P(next)) / (count(song) + 10): a Dirichlet prior.
    """
    songs, share = _shares(playlists)
    places = {song: place for place, song in enumerate(songs)}
    counts = np.zeros((len(songs), len(songs)))
    for playlist in playlists:
        row = [places[song] for song in playlist.songs]
        for place, song in enumerate(row):
            for distance, later in enumerate(row[place + 1 : place + 1 + window]):
                counts[song, later] += decay**distance
    following = (counts + 10 * share) / (counts.sum(axis=1, keepdims=True) + 10)
    return songs, lambda heard: following[list(heard)].mean(axis=0)


def same_playlist(playlists: Sequence[Playlist]) -> tuple[Sequence[str], Scores]:
    """Item to item: the cosine of two songs' rows of playlists, order aside."""
    songs, _ = _shares(playlists)
    places = {song: place for place, song in enumerate(songs)}
    held = np.zeros((len(songs), len(playlists)))
    for column, playlist in enumerate(playlists):
        held[[places[song] for song in playlist.songs], column] = 1.0
    held /= np.linalg.norm(held, axis=1, keepdims=True)
    cosines = held @ held.T
    return songs, lambda heard: cosines[list(heard)].mean(axis=0)


def word2vec(playlists: Sequence[Playlist], **settings: Any) -> tuple[Sequence[str], Scores]:
    """The embedding's likelihood of what follows."""
    embedding = learn(playlists, Settings(**settings))
    return embedding.songs, lambda heard: embedding.log_likelihood(embedding.before[list(heard)])


METHODS = {
    "popularity": Method(popularity),
    "same playlist": Method(same_playlist),
    "what followed": Method(
        what_followed, [{"window": 1, "decay": 1.0}, {"window": 3, "decay": 0.5}, {"window": 20, "decay": 0.8}]
    ),
    "word2vec, both sides": Method(word2vec, [{"ahead": False, "window": window} for window in (3, 5)]),
    "word2vec, ahead": Method(word2vec, [{"ahead": True, "window": window} for window in (3, 5)]),
}
LEARNT = ("word2vec, both sides", "word2vec, ahead")
LATEST = (100, 200, 400, 0)
"""Every method may forget: of so many playlists, the last, it learns (0: all)."""
CONTEXT = (1, 3, 20)
"""And of so many songs heard, the last, it goes by."""


@dataclass(frozen=True)
class Reached:
    """What a method reached: of each playlist, the hits, the sum of reciprocal ranks and the songs asked for."""

    hits: Array
    reciprocal: Array
    asked: Array

    @property
    def recall(self) -> float:
        return float(self.hits.sum() / self.asked.sum())


def measure(scores: Scores, songs: Sequence[str], playlists: Sequence[Playlist], context: int = 3) -> Reached:
    """Rank the next song at every place of every playlist. Equal scores share the middle of their ranks."""
    places = {song: place for place, song in enumerate(songs)}
    rows = []
    for playlist in playlists:
        hits = reciprocal = 0.0
        for length in range(1, len(playlist.songs)):
            played = [places[song] for song in playlist.songs[:length] if song in places]
            target = places.get(playlist.songs[length])
            if target is None or target in played:
                continue
            # Before any known song is heard, the mean over all songs stands in: what is usual.
            row = np.array(scores(played[-context:] or range(len(songs))), dtype=np.float64)
            row[played] = -np.inf
            rank = 0.5 + (row > row[target]).sum() + (row == row[target]).sum() / 2
            hits += float(rank <= TOP)
            reciprocal += 1.0 / rank
        rows.append((hits, reciprocal, len(playlist.songs) - 1.0))
    columns = np.array(rows).T
    return Reached(columns[0], columns[1], columns[2])


def interval(values: Array, weights: Array, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """The bootstrap's 95 % interval of sum(values) / sum(weights): both (count,), drawn anew together."""
    chosen = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[chosen].sum(axis=1) / weights[chosen].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def evaluate(playlists: Sequence[Playlist], seed: int = 0) -> dict[str, Any]:
    """Every group's table: {group: {"playlists": ..., "methods": {name: figures}, "against": figures}}.

    Raises:
        UserError: no group holds `FEWEST` playlists of two songs.
    """
    groups: dict[str, list[Playlist]] = {}
    for playlist in playlists:
        if len(playlist.songs) > 1:
            groups.setdefault(playlist.group, []).append(playlist)
    chosen = {name: members for name, members in groups.items() if len(members) >= FEWEST}
    if not chosen:
        raise UserError(
            f"an evaluation needs {FEWEST} playlists of two songs or more, to hold some out; there are "
            f"{max((len(members) for members in groups.values()), default=0)} in the largest group."
        )
    results = {}
    with Progress(len(chosen), "evaluating", unit="group") as progress:
        for done, (name, members) in enumerate(chosen.items(), start=1):
            results[name] = _evaluate_group(members, seed)
            progress.update(done)
    return results


def _evaluate_group(playlists: Sequence[Playlist], seed: int) -> dict[str, Any]:
    first, second = math.floor(0.8 * len(playlists)), math.floor(0.9 * len(playlists))
    training, validation, test = playlists[:first], playlists[first:second], playlists[second:]
    reached, figures = {}, {}
    for name, method in METHODS.items():
        option = _choose(method, training, validation)
        latest, context, rest = option["latest"], option["context"], option["rest"]
        chosen = {"validation": option["recall"], "latest": latest, "context": context, **rest}
        songs, scores = method.fit(playlists[:second][-latest:], **rest)
        reached[name] = measure(scores, songs, test, context)
        figures[name] = {**_figures(reached[name], seed), **chosen}
    counting = max((name for name in METHODS if name not in LEARNT), key=lambda name: reached[name].recall)
    asked = reached[counting].asked
    gains = {name: reached[name].hits - reached[counting].hits for name in LEARNT}
    return {
        "playlists": {"training": len(training), "validation": len(validation), "test": len(test)},
        "test_from": test[0].date,
        "songs": len({song for playlist in playlists for song in playlist.songs}),
        "asked": int(asked.sum()),
        "methods": figures,
        "counting": counting,
        "gains": {
            name: {"recall": float(gain.sum() / asked.sum()), "interval": interval(gain, asked, seed)}
            for name, gain in gains.items()
        },
    }


def _choose(method: Method, training: Sequence[Playlist], validation: Sequence[Playlist]) -> dict[str, Any]:
    """The options of the best recall on validation playlists; of equals the first."""
    best, chosen = -1.0, dict[str, Any]()
    latest_used = sorted({latest for latest in LATEST if latest < len(training)}, key=LATEST.index)
    for latest, rest in itertools.product(latest_used, method.options):
        songs, scores = method.fit(training[-latest:], **rest)
        for context in CONTEXT:
            recall = measure(scores, songs, validation, context).recall
            if recall > best:
                best = recall
                chosen = {"recall": recall, "latest": latest, "context": context, "rest": dict(rest)}
    return chosen


def _figures(reached: Reached, seed: int) -> dict[str, Any]:
    return {
        "recall": reached.recall,
        "recall_interval": interval(reached.hits, reached.asked, seed),
        "reciprocal_rank": float(reached.reciprocal.sum() / reached.asked.sum()),
        "reciprocal_rank_interval": interval(reached.reciprocal, reached.asked, seed),
    }


def table(results: Mapping[str, Any]) -> str:
    """The figures as a Markdown table a group."""
    lines: list[str] = []
    for group, result in results.items():
        parts = result["playlists"]
        since = f" from {result['test_from']}" if result["test_from"] else ""
        lines += [
            f"{group or 'playlists'}: {result['songs']} songs; {parts['training']} playlists learnt from, "
            f"{parts['validation']} to choose by, {parts['test']} tested{since} ({result['asked']} next songs)",
            "",
            f"| method | recall@{TOP} | 95 % | MRR | 95 % | on validation | chosen |",
            "|---|---|---|---|---|---|---|",
        ]
        for name, row in result["methods"].items():
            recall, rank = row["recall_interval"], row["reciprocal_rank_interval"]
            lines.append(
                f"| {name} | {row['recall']:.3f} | {recall[0]:.3f} to {recall[1]:.3f} | {row['reciprocal_rank']:.3f} "
                f"| {rank[0]:.3f} to {rank[1]:.3f} | {row['validation']:.3f} | {_shown(row)} |"
            )
        lines.append("")
        for name, gain in result["gains"].items():
            low, high = gain["interval"]
            lines.append(f"{name} over {result['counting']}: {gain['recall']:+.3f} ({low:+.3f} to {high:+.3f})")
        lines.append("")
    return "\n".join(lines).rstrip()


def _shown(row: Mapping[str, Any]) -> str:
    latest = f"latest {row['latest']}" if row["latest"] else "all playlists"
    window = f", window {row['window']}" if "window" in row else ""
    decay = f", decay {row['decay']:g}" if "decay" in row else ""
    return f"{latest}, last {row['context']} heard{window}{decay}"


def _shares(playlists: Sequence[Playlist]) -> tuple[list[str], Array]:
    """The songs of playlists, and each one's share of all that was played."""
    counts = Counter(song for playlist in playlists for song in playlist.songs)
    songs = sorted(counts)
    share = np.array([counts[song] for song in songs], dtype=np.float64)
    return songs, share / share.sum()
