"""What the experiment is run on: songs of different kinds, and the starts drawn from them before any judge is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from hitchain.chain import config as configs
from hitchain.chain.build import build
from hitchain.chain.chain import Song
from hitchain.errors import UserError
from hitchain.files import read_audio

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
KINDS = {
    "mixes": ("song=recording", "effects=[parametric_eq,compressor]"),
    "guitars": (
        "song=recording",
        "effects=[parametric_eq,compressor,reverb]",
        "amp=tube",
        "cab=speaker",
        "mic=microphone",
    ),
}
"""The folders of recordings, and the chain that the recordings of each go through."""

BANDS: Mapping[str, tuple[str, ...]] = {
    "demo band": ("song=demo",),
    "plucked band": ("song=demo", "instrument@lead=pluck", "instrument@bass=fm", "instrument@chords=organ"),
    "wavetable band": ("song=demo", "instrument@lead=wavetable", "instrument@bass=pluck", "instrument@chords=fm"),
}
"""Synthesised bands: what ships with hitchain, so that the experiment can be run without any recordings."""

LOUD_ENOUGH = 0.02
"""Root-mean-square level that a section must have, in full scale: a pause says nothing."""
SPREAD = 0.3
"""How far starting knobs are moved from the song's own, as a share of their range: set without care."""


@dataclass(frozen=True)
class Start:
    """Where one climb begins.

    Attributes:
        name: unique.
        song: of the song.
        kind: "mixes", "guitars" or "bands".
        overrides: that build it.
        seed: of the knobs' variation, and of everything random in its arms.
        first, second: [s] where the climbed section and the other one begin.
        other: a recording whose waveform is climbed as it is; "" for the chain's own start.
        other_at: [s] where in it.
    """

    name: str
    song: str
    kind: str
    overrides: tuple[str, ...]
    seed: int
    first: float
    second: float
    other: str = ""
    other_at: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def draw_starts(config: Mapping[str, Any]) -> list[Start]:
    """Every start of the experiment. No judge is asked: sections are chosen by chance and level alone.

    Raises:
        UserError: the folder of recordings is missing or holds none, or a recording is too short for two sections.
    """
    songs = list(_songs(config))
    rate, length = int(config["sample_rate"]), float(config["section"])
    mixes = [song for song in songs if song[1] == "mixes"]
    starts = []
    for index, (name, kind, overrides) in enumerate(songs):
        song = _built(tuple(overrides), rate)
        for number in range(int(config["starts_per_song"])):
            seed = _number(f"{config['seed']}/{name}/{number}")
            first, second = _sections(song, length, seed)
            other, other_at = "", 0.0
            others = [chosen for other_name, _, chosen in mixes if other_name != name]
            if others:
                chosen = others[(index + number) % len(others)]
                other = next(item.partition("=")[2] for item in chosen if item.startswith("instrument.file="))
                other_at, _ = _sections(_built(tuple(chosen), rate), length, seed)
            starts.append(
                Start(f"{name} {number + 1}", name, kind, tuple(overrides), seed, first, second, other, other_at)
            )
    return starts


def _songs(config: Mapping[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, kind, overrides) of every song."""
    found = [(name, "bands", overrides) for name, overrides in BANDS.items()]
    if config["recordings"] is None:
        return found
    folder = Path(config["recordings"])
    if not folder.is_dir():
        raise UserError(f"recordings={folder} is not a folder; it should hold mixes/ and guitars/ with sound files.")
    for kind, overrides in KINDS.items():
        for path in sorted((folder / kind).glob("*")) if (folder / kind).is_dir() else []:
            if path.suffix.lower() in SOUNDS:
                found.append((path.stem, kind, (*overrides, f"instrument.file={path}")))
    if len(found) == len(BANDS):
        raise UserError(f"recordings={folder} holds no sound files in {' or '.join(f'{kind}/' for kind in KINDS)}.")
    return found


@lru_cache(maxsize=16)
def _built(overrides: tuple[str, ...], sample_rate: int) -> Song:
    composed = configs.compose("render", [*(_quoted(item) for item in overrides), f"sample_rate={sample_rate}"])
    return build(composed)


def _quoted(item: str) -> str:
    """A file name may hold what Hydra would read as syntax."""
    key, _, value = item.partition("=")
    return f"{key}='{value}'" if key.endswith(".file") else item


def song_of(start: Start, sample_rate: int) -> Song:
    """The song of a start, its knobs where the start has them."""
    song = _built(start.overrides, sample_rate)
    varied = song.patch(batch=2, seed=start.seed % 2**31, spread=SPREAD).item(1)
    return _with_start(song, varied)


def _with_start(song: Song, patch: Any) -> Song:
    import copy

    moved = copy.copy(song)
    moved.start = patch
    return moved


@torch.no_grad()
def _sections(song: Song, length: float, seed: int) -> tuple[float, float]:
    """Two stretches of a song that do not overlap and are not pauses: where each begins [s]."""
    if song.length < 2 * length:
        raise UserError(f"{song.name}: {song.length:.1f} s is too short for two sections of {length:g} s.")
    mix = _mix(song)
    generator = torch.Generator().manual_seed(seed % 2**31)
    tries = (torch.rand(200, 2, generator=generator) * (song.length - length)).tolist()
    apart = [(first, second) for first, second in tries if abs(first - second) >= length]
    if not apart:
        apart = [(0.0, song.length - length)]

    def quieter(pair: tuple[float, float]) -> float:
        return min(_level(mix, song.sample_rate, place, length) for place in pair)

    return next((pair for pair in apart if quieter(pair) > LOUD_ENOUGH), max(apart, key=quieter))


@lru_cache(maxsize=16)
def _mix(song: Song) -> torch.Tensor:
    return song.mix(song.start)[0]


def _level(mix: torch.Tensor, sample_rate: int, start: float, length: float) -> float:
    first = round(start * sample_rate)
    return float(mix[:, first : first + round(length * sample_rate)].square().mean().sqrt())


def recording(path: str, start: float, length: float, sample_rate: int) -> torch.Tensor:
    """A section of a sound file in stereo: (1, 2, samples)."""
    audio, _ = read_audio(path, sample_rate)
    first, samples = round(start * sample_rate), round(length * sample_rate)
    section = audio[:, first : first + samples]
    return section.expand(2, -1)[None].contiguous()


def _number(text: str) -> int:
    """A stable number for a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
