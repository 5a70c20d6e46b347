"""Does the tower place songs it never heard? Measured where the rule is known: playlists planted from sound.

    python -m hitchain.rater.playlist.proof [recordings=FOLDER,...] [songs=400] [seed=0] [json=FILE]

Songs are synthesised in random styles (tempo, brightness, drums, register), or cut from recordings and described by
what is measured in them (brightness, movement, bass, peaks). A hidden rule samples playlists: the nearer in style, the
likelier next. The embedding sees only which song followed which, and only those of four fifths of the songs (of whole
recordings, where they are cut); the tower is trained on their audio. Each unseen song is then placed by its sound, and
recall@10 is the share of songs drawn by the rule to follow it that are among the first ten listed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, write_json
from hitchain.progress import Progress
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.playlist.embedding import Embedding, learn
from hitchain.rater.playlist.evaluate import TOP, interval
from hitchain.rater.playlist.playlists import Playlist
from hitchain.rater.playlist.tower import Tower, TowerSettings, train

Array = NDArray[np.float64]
RATE = 16_000
SECONDS = 6.0
SPREAD = 0.12
"""How far in style (each 0 to 1) the next song strays: the rule's standard deviation."""
LENGTH = 12
DRAWN = 40
"""Songs drawn by the rule after each unseen one, for its recall."""


@dataclass(frozen=True)
class World:
    """Songs (their audio (2, samples) at `RATE`), their styles (songs, properties) in 0..1, and which are unseen."""

    names: list[str]
    audio: list[Tensor]
    styles: Array
    unseen: NDArray[np.bool_]


def synthesise(count: int, seed: int) -> World:
    """Songs in styles drawn evenly; every fifth is unseen."""
    random = np.random.default_rng([seed, 1])
    styles = random.random((count, 4))
    audio = [_band(style, np.random.default_rng([seed, 2, number])) for number, style in enumerate(styles)]
    return World([f"song {number}" for number in range(count)], audio, styles, np.arange(count) % 5 == 0)


def _band(style: Array, random: np.random.Generator) -> Tensor:
    """Chords on the beat over a noise drum: tempo, brightness, drums and register by the style, the rest by chance."""
    samples = round(SECONDS * RATE)
    beat = 60.0 / (70.0 + 110.0 * style[0])
    rolloff = 3.0 - 2.2 * style[1]
    root = 40.0 + 28.0 * style[3] + random.uniform(-1.0, 1.0)
    out = np.zeros((2, samples))
    for start in np.arange(0.0, SECONDS, beat):
        first = round(start * RATE)
        time = np.arange(min(samples - first, round(0.6 * RATE))) / RATE
        envelope = np.minimum(time / 0.005, 1.0) * np.exp(-time / random.uniform(0.1, 0.25))
        for interval_up in random.choice([0, 3, 4, 7, 10, 12], size=3, replace=False):
            frequency = 440.0 * 2.0 ** ((root + interval_up - 69.0) / 12.0)
            partials = np.arange(1, min(12, int(0.45 * RATE / frequency)) + 1)
            tone = (np.sin(2 * np.pi * np.outer(time, partials * frequency)) / partials**rolloff).sum(axis=1)
            pan = random.uniform(-0.5, 0.5)
            out[:, first : first + len(time)] += 0.1 * np.array([[1 - pan], [1 + pan]]) * tone * envelope
        drum = random.standard_normal(len(time)) * np.exp(-time / 0.06)
        out[:, first : first + len(time)] += 0.4 * style[2] * drum
    return torch.from_numpy(out).float()


def cut(folders: Sequence[Path], seed: int) -> World:
    """Pieces of the recordings in folders, at most 40 of each; every fourth recording is unseen.

    Raises:
        UserError: fewer than four recordings of two pieces.
    """
    names, audio, sources = [], [], []
    sounds = (".wav", ".flac", ".ogg", ".mp3")
    files = sorted(file for folder in folders for file in folder.rglob("*") if file.suffix.lower() in sounds)
    for file in files:
        whole, _ = read_audio(file, RATE)
        length = round(SECONDS * RATE)
        starts = range(0, whole.shape[-1] - length + 1, length)
        if len(starts) < 2:
            continue
        for start in list(starts)[:: max(1, len(starts) // 40)][:40]:
            piece = whole[:, start : start + length]
            if float(piece.square().mean()) > 1e-6:
                names.append(f"{file.stem} {start / RATE:.0f} s")
                audio.append(piece)
                sources.append(str(file))
    recordings = sorted(set(sources))
    if len(recordings) < 4:
        raise UserError(f"recordings= holds {len(recordings)} of {2 * SECONDS:g} s or more; 4 are needed.")
    order = np.random.default_rng([seed, 3]).permutation(len(recordings))
    held = {recordings[place] for place in order[: len(recordings) // 4]}
    measured = np.array([_described(piece) for piece in audio])
    ranks = measured.argsort(axis=0).argsort(axis=0) / (len(measured) - 1.0)  # even in 0..1, whatever the unit
    return World(names, audio, ranks, np.array([source in held for source in sources]))


def _described(piece: Tensor) -> list[float]:
    """Brightness (spectral centroid), movement (spectral flux), bass (share under 150 Hz) and peaks (crest factor)."""
    mono = piece.mean(dim=0)
    window = torch.hann_window(1024)
    magnitude = torch.stft(mono, 1024, 256, window=window, return_complex=True).abs()
    frequency = torch.linspace(0.0, RATE / 2, magnitude.shape[0])
    power = magnitude.square().sum(dim=1)
    centroid = (frequency * power).sum() / power.sum()
    flux = magnitude.diff(dim=1).clamp_min(0.0).sum() / magnitude.sum()
    bass = power[frequency < 150.0].sum() / power.sum()
    crest = mono.abs().max() / mono.square().mean().sqrt()
    return [float(value) for value in (centroid, flux, bass, crest)]


def follow(styles: Array, start: int, allowed: NDArray[np.bool_]) -> Array:
    """The hidden rule: the probability of every song to come after `start`, a Gaussian of the distance in style."""
    distance = np.square(styles - styles[start]).sum(axis=1)
    weight = np.where(allowed, np.exp(-(distance - distance[allowed].min()) / (2 * SPREAD**2)), 0.0)
    weight[start] = 0.0
    return np.asarray(weight / weight.sum())


def plant(world: World, count: int, allowed: NDArray[np.bool_], seed: int) -> list[Playlist]:
    """Playlists walked by the rule, over allowed songs; no song comes twice in one."""
    random = np.random.default_rng([seed, 4])
    playlists = []
    for _ in range(count):
        free = allowed.copy()
        place = int(random.choice(np.flatnonzero(free)))
        walked = [place]
        while len(walked) < LENGTH and free.sum() > 1:
            free[place] = False
            place = int(random.choice(len(free), p=follow(world.styles, place, free)))
            walked.append(place)
        playlists.append(Playlist(tuple(world.names[place] for place in walked)))
    return playlists


def prove(world: World, seed: int = 0, settings: TowerSettings | None = None) -> dict[str, Any]:
    """Recall@10 of unseen songs by every way of placing them, with 95 % intervals over the unseen songs."""
    known = ~world.unseen
    embedding = learn(plant(world, 3 * len(world.names), known, seed))
    audio = dict(zip(world.names, world.audio, strict=True))
    chosen = settings or TowerSettings(seed=seed)
    with Progress(chosen.epochs, "training the tower") as progress:
        tower = train(
            embedding,
            {song: (audio[song], RATE) for song in embedding.songs},
            chosen,
            lambda epoch, loss: progress.update(epoch, loss=loss),
        )
    unseen = np.flatnonzero(world.unseen)
    unheard = [world.audio[place] for place in unseen]
    places = {
        "the tower": _by_tower(tower, unheard),
        "log-mel statistics and ridge": _by_ridge(embedding, audio, unheard, _statistics),
        "librosa features and ridge": _by_ridge(embedding, audio, unheard, _features),
        "no sound (the songs' centre)": np.repeat(embedding.before.mean(axis=0)[None], len(unseen), axis=0),
    }
    ways = {name: [embedding.log_likelihood(row[None]) for row in rows] for name, rows in places.items()}
    whole = learn(plant(world, 3 * len(world.names), np.ones_like(known), seed))
    ways["its own playlists (no longer unseen)"] = [_told(whole, embedding, world.names[place]) for place in unseen]
    rule = [follow(world.styles, int(place), known) for place in unseen]
    order = [world.names.index(song) for song in embedding.songs]
    ways["the hidden rule itself"] = [np.log(row[order] + 1e-30) for row in rule]
    drawn = [
        np.random.default_rng([seed, 5, int(place)]).choice(len(row), DRAWN, p=row)
        for place, row in zip(unseen, rule, strict=True)
    ]
    figures = {}
    for name, rows in ways.items():
        hits = np.array([_share(row, order, after) for row, after in zip(rows, drawn, strict=True)])
        figures[name] = {"recall": float(hits.mean()), "interval": interval(hits, np.ones(len(hits)), seed)}
    return {
        "known": int(known.sum()),
        "unseen": len(unseen),
        "chance": TOP / len(embedding.songs),
        "ways": figures,
    }


def _share(scores: NDArray[Any], order: Sequence[int], drawn: NDArray[Any]) -> float:
    """The share of the drawn songs among the `TOP` of highest score."""
    listed = {order[place] for place in np.argsort(-scores, kind="stable")[:TOP]}
    return float(np.mean([song in listed for song in drawn.tolist()]))


@torch.no_grad()
def _by_tower(tower: Tower, audio: Sequence[Tensor]) -> NDArray[np.float32]:
    return np.concatenate([tower(piece.unsqueeze(0), RATE).numpy() for piece in audio])


def _by_ridge(
    embedding: Embedding,
    audio: Mapping[str, Tensor],
    unseen: Sequence[Tensor],
    describe: Callable[[Tensor], NDArray[np.floating[Any]]],
) -> NDArray[np.float32]:
    """Ridge regression of the songs' directions from a description of their sound, its strength by leave-one-out."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 5, 13)))
    model.fit([describe(audio[song]) for song in embedding.songs], embedding.centred())
    found = model.predict([describe(piece) for piece in unseen])
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    centre = embedding.before.mean(axis=0)
    radius = np.linalg.norm(embedding.before - centre, axis=1).mean()
    return np.asarray(centre + radius * found, dtype=np.float32)


@torch.no_grad()
def _statistics(audio: Tensor) -> NDArray[np.floating[Any]]:
    """Mean and deviation over time of every band of the front end."""
    frames = FrontEnd()(audio.unsqueeze(0), RATE)[0].flatten(0, 1)
    return torch.cat([frames.mean(dim=-1), frames.std(dim=-1)]).numpy()


def _features(audio: Tensor) -> NDArray[np.floating[Any]]:
    from hitchain.rater.features import features

    return features(audio.numpy(), RATE)


def _told(whole: Embedding, embedding: Embedding, song: str) -> NDArray[np.float32]:
    """What the embedding of all songs says of those that the other one knows."""
    scores = whole.log_likelihood(whole.before[[whole.index(song)]])
    return scores[[whole.index(name) for name in embedding.songs]]


def table(result: Mapping[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"{result['unseen']} unseen songs placed among {result['known']}; chance {result['chance']:.3f}",
        "",
        f"| placed by | recall@{TOP} | 95 % |",
        "|---|---|---|",
    ]
    for name, row in result["ways"].items():
        low, high = row["interval"]
        lines.append(f"| {name} | {row['recall']:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines)


def main(words: Sequence[str]) -> None:
    """Print the table for the words of a command line."""
    known = {"recordings": "", "songs": "400", "seed": "0", "json": ""}
    for word in words:
        key, _, value = word.partition("=")
        if key not in known:
            raise UserError(f"'{word}': the proof has no key '{key}'; {nearest(key, known)}")
        known[key] = value
    for key, lowest in (("songs", 50), ("seed", 0)):
        if not known[key].isdigit() or int(known[key]) < lowest:
            raise UserError(f"{key}={known[key]} should be a whole number, {lowest} or more.")
    seed = int(known["seed"])
    folders = [Path(name) for name in known["recordings"].split(",") if name]
    world = cut(folders, seed) if folders else synthesise(int(known["songs"]), seed)
    result = prove(world, seed)
    print(table(result))
    if known["json"]:
        write_json(known["json"], result)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"hitchain: {error}")
