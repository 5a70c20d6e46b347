"""Degraded crops as cached log-mel frames: what the members are fitted to and tested on.

A group is one crop of one recording: untouched, and degraded at rising strengths. Half the groups suffer the same
chain of faults at every strength, the others a new chain each time. The target is 1 - strength.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from hitchain.files import read_json, replacing, write_json
from hitchain.rater.appeal import corpus, faults
from hitchain.rater.appeal.corpus import RATE, Recording
from hitchain.rater.features import features
from hitchain.rater.frontend import FrontEnd

CROP_SECONDS = 3.2
STRENGTHS = 6
WORST_CASE = "worst case"
KIND_WEIGHTS = {"music": 0.34, "mix": 0.16, "sound": 0.04, "song": 0.46, "stem": 0.07, "solo": 0.13, "dry": 0.13}
"""How often a crop is of a kind of recording, as shares of the kinds that its split has."""


@dataclass
class Examples:
    """Frames (n, 2, mel_bands, frames) in float16, and for each its target, recording, group and chain of faults.

    Where they were prepared for trees, `frames` are `hitchain.rater.features` (n, features) in float32 instead.
    """

    frames: NDArray[np.floating[Any]]
    targets: NDArray[np.float32]
    recordings: list[str]
    groups: NDArray[np.int64]
    chains: list[list[str]]


def prepare(
    recordings: list[Recording],
    split: str,
    chunk: int,
    groups: int,
    folder: Path,
    out: Path,
    seed: int = 0,
    hear: str = "frames",
) -> Examples:
    """The examples of one chunk of a split: made on the first call, read from `out` on the next.

    Args:
        recordings: the corpus; only those of `split` are used.
        chunk: chunks differ in everything random.
        groups: crops in the chunk, each with `STRENGTHS` strengths; a tenth as many worst cases are added.
        folder: where the corpus lies.
        hear: "frames" for networks, "features" for trees: the same crops either way.
    """
    stem = out / f"{split}-{chunk}-{groups}{'' if hear == 'frames' else '-' + hear}"
    if stem.with_suffix(".json").exists():
        return read(stem)
    random = np.random.default_rng([seed, corpus.SPLITS.index(split), chunk])
    own = [recording for recording in recordings if recording.split == split and recording.seconds > CROP_SECONDS]
    weights = _weights(own)
    heard = _frames if hear == "frames" else _features
    frames, rows = [], []
    for group in tqdm(range(groups), desc=f"examples for {split}, chunk {chunk}", disable=None):
        recording = own[int(random.choice(len(own), p=weights))]
        crops, targets, chains = _group(recording, folder, random)
        frames.append(heard(crops))
        rows += [(target, recording.name, group, chain) for target, chain in zip(targets, chains, strict=True)]
    worst = [faults.worst_case(round(CROP_SECONDS * RATE), RATE, random) for _ in range(groups // 2)]
    frames += [heard([audio]) for audio in worst]
    rows += [(0.0, WORST_CASE, -1, [WORST_CASE]) for _ in worst]
    _write(stem, np.concatenate(frames), rows)
    return read(stem)


def draw_crop(
    recordings: list[Recording], split: str, folder: Path, random: np.random.Generator
) -> tuple[Recording, faults.Audio]:
    """A recording of a split, and an untouched crop of it, in another taste of production where it may train."""
    own = [recording for recording in recordings if recording.split == split and recording.seconds > CROP_SECONDS]
    recording = own[int(random.choice(len(own), p=_weights(own)))]
    audio = corpus.read_crop(recording, folder, _loud_start(recording, folder, random), CROP_SECONDS)
    return recording, audio if split in corpus.UNHEARD else _produced(audio, int(random.integers(2**32)))


def _weights(recordings: list[Recording]) -> NDArray[np.float64]:
    counts = {kind: sum(recording.kind == kind for recording in recordings) for kind in KIND_WEIGHTS}
    weights = np.array([KIND_WEIGHTS[recording.kind] / counts[recording.kind] for recording in recordings])
    return np.asarray(weights / weights.sum())


def _group(
    recording: Recording, folder: Path, random: np.random.Generator
) -> tuple[list[faults.Audio], list[float], list[list[str]]]:
    start = _loud_start(recording, folder, random)
    production = random.integers(2**32)

    def crop(version: int) -> faults.Audio:
        audio = corpus.read_crop(recording, folder, start, CROP_SECONDS, version)
        return audio if recording.split in corpus.UNHEARD else _produced(audio, int(production))

    clean = crop(0)
    same_chain = faults.draw_chain(clean, random) if random.random() < 0.5 else None
    strengths = [0.0, *((np.arange(STRENGTHS - 1) + random.random(STRENGTHS - 1)) / (STRENGTHS - 1))]
    crops, targets, chains = [], [], []
    for strength in strengths:
        audio, chain = clean, list[str]()
        if strength > 0.0 and recording.versions > 1 and random.random() < 0.2:
            version = int(random.integers(1, recording.versions))
            strength = corpus.VERSION_STRENGTHS[version]
            audio, chain = crop(version), ["playing"]
            if random.random() < 0.5:
                audio, more = faults.degrade(audio, RATE, strength * random.uniform(0.3, 1.0), random)
                chain += more
        else:
            audio, chain = faults.degrade(clean, RATE, strength, random, same_chain)
        crops.append(audio)
        targets.append(1.0 - float(strength))
        chains.append(chain)
    return crops, targets, chains


def _loud_start(recording: Recording, folder: Path, random: np.random.Generator) -> float:
    """Where a crop starts that is not a pause: the loudest of up to six tries decides where none is loud enough."""
    tail = 2.5 if recording.versions > 1 else 0.0
    length = (corpus.SONG_SECONDS if recording.versions > 1 else recording.seconds) - CROP_SECONDS - tail
    best, best_level = 0.0, -1.0
    for _ in range(6):
        start = float(random.uniform(0.0, max(length, 0.0)))
        level = faults.rms(corpus.read_crop(recording, folder, start, CROP_SECONDS))
        if level > best_level:
            best, best_level = start, level
        if level > 0.02:
            break
    return best


def _produced(audio: faults.Audio, seed: int) -> faults.Audio:
    """Another taste of production, the same for a whole group: what real recordings differ in before any fault.

    A smooth equalisation of a few dB, some compression and saturation, a noise floor, a small room and another width,
    each weaker than a fault of strength 0.2.
    """
    random = np.random.default_rng(seed)
    out = np.asarray(audio, np.float64)
    samples = out.shape[1]
    place = np.log2(np.maximum(np.fft.rfftfreq(samples, 1.0 / RATE), 30.0) / 30.0) / 9.0
    curve = sum((random.normal(0.0, 2.0) * np.cos(np.pi * k * place) for k in range(1, 5)), np.zeros_like(place))
    out = np.fft.irfft(np.fft.rfft(out) * 10.0 ** (curve / 20.0), samples)
    if random.random() < 0.5:
        envelope = np.maximum(faults.level_envelope(out, RATE, random.uniform(0.01, 0.05)), 1e-3)
        out = out * (envelope / envelope.max()) ** -random.uniform(0.0, 0.3)
    if random.random() < 0.4:
        drive = 10.0 ** (random.uniform(-6.0, 5.0) / 20.0) / max(float(np.abs(out).max()), faults.TINY)
        out = np.tanh(out * drive) / drive
    middle, side = out.mean(0), (out[0] - out[1]) / 2.0 * random.uniform(0.5, 1.2)
    out = np.stack([middle + side, middle - side])
    if random.random() < 0.3:
        decay = 10.0 ** (-3.0 * np.arange(samples) / RATE / random.uniform(0.2, 0.7))
        room = scipy.signal.fftconvolve(out, faults.coloured_noise(samples, RATE, 0.3, random) * decay, axes=1)[
            :, :samples
        ]
        out = out + room * (
            faults.rms(out) / max(faults.rms(room), faults.TINY) * 10.0 ** (random.uniform(-24, -13) / 20.0)
        )
    if random.random() < 0.4:
        floor = faults.coloured_noise(samples, RATE, random.uniform(-0.3, 0.8), random)
        out = out + floor * (faults.rms(out) / faults.rms(floor) * 10.0 ** (random.uniform(-65.0, -40.0) / 20.0))
    level = max(faults.rms(audio), faults.TINY) / max(faults.rms(out), faults.TINY)
    return np.asarray(out * level, np.float32)


@torch.no_grad()
def _frames(crops: list[faults.Audio]) -> NDArray[np.floating[Any]]:
    result: NDArray[np.floating[Any]] = FrontEnd()(torch.from_numpy(np.stack(crops)), RATE).half().numpy()
    return result


def _features(crops: list[faults.Audio]) -> NDArray[np.floating[Any]]:
    return np.stack([features(audio, RATE) for audio in crops]).astype(np.float32)


def _write(stem: Path, frames: NDArray[np.floating[Any]], rows: list[tuple[Any, ...]]) -> None:
    with replacing(stem.with_suffix(".npy")) as temporary:
        np.save(temporary, frames)
    keys = ("target", "recording", "group", "chain")
    write_json(stem.with_suffix(".json"), [dict(zip(keys, row, strict=True)) for row in rows])


def read(stem: Path) -> Examples:
    """Examples written by `prepare`; the frames stay on disk until used."""
    rows = read_json(stem.with_suffix(".json"), "example listing")
    return Examples(
        frames=np.load(stem.with_suffix(".npy"), mmap_mode="r"),
        targets=np.array([row["target"] for row in rows], np.float32),
        recordings=[row["recording"] for row in rows],
        groups=np.array([row["group"] for row in rows], np.int64),
        chains=[row["chain"] for row in rows],
    )


def join(parts: list[Examples]) -> Examples:
    """Several chunks as one; group numbers stay apart."""
    offsets = np.cumsum([0] + [int(part.groups.max()) + 1 for part in parts[:-1]])
    return Examples(
        frames=np.concatenate([part.frames for part in parts]),
        targets=np.concatenate([part.targets for part in parts]),
        recordings=[name for part in parts for name in part.recordings],
        groups=np.concatenate([np.where(p.groups < 0, -1, p.groups + o) for p, o in zip(parts, offsets, strict=True)]),
        chains=[chain for part in parts for chain in part.chains],
    )
