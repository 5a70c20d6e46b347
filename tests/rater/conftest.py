"""Audio for the rating room's tests, made here: a small band that sounds enough like music."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hitchain.files import write_wav


def make_band(seconds: float, sample_rate: int, seed: int = 0) -> torch.Tensor:
    """Plucked harmonic chords, a bass line and a noise drum on the beat, in stereo: (1, 2, samples)."""
    random = np.random.default_rng(seed)
    samples = round(seconds * sample_rate)
    out = np.zeros((2, samples))
    beat = 0.5
    chords = ([57, 60, 64], [53, 57, 60], [48, 52, 55], [55, 59, 62])
    for number in range(int(np.ceil(seconds / beat))):
        first, last = round(number * beat * sample_rate), min(samples, round((number * beat + 2.0) * sample_rate))
        local = np.arange(last - first) / sample_rate
        chord = chords[(number // 4) % 4]
        for voice, pitch in enumerate([*chord, chord[0] - 12]):
            frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
            partials = [k for k in range(1, 9) if k * frequency < 0.45 * sample_rate]
            tone = sum(np.sin(2 * np.pi * k * frequency * local) / k**1.5 for k in partials)
            envelope = np.minimum(local / 0.005, 1.0) * np.exp(-local / 0.35)
            pan = (voice - 1.5) / 4
            out[:, first:last] += np.array([[1 - pan], [1 + pan]]) * (0.08 * tone * envelope)
        noise = random.standard_normal(last - first) * np.exp(-local / 0.05) * (0.25 if number % 2 else 0.08)
        out[:, first:last] += noise
    return torch.from_numpy(out).float().unsqueeze(0)


@pytest.fixture(scope="session")
def band() -> Callable[..., torch.Tensor]:
    """The function (seconds, sample_rate, seed=0) -> audio (1, 2, samples)."""
    return make_band


@pytest.fixture(scope="session")
def music() -> torch.Tensor:
    """Four seconds of the band at 44.1 kHz: (1, 2, 176400)."""
    return make_band(4.0, 44_100)


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes songs and their manifest: rows of (audio, plays, likes, artist)."""

    def make(rows: list[tuple[torch.Tensor, float, float, str]], sample_rate: int = 16_000) -> Path:
        lines = ["path,plays,likes,artist"]
        for number, (audio, plays, likes, artist) in enumerate(rows):
            write_wav(tmp_path / f"song{number}.wav", audio, sample_rate)
            lines.append(f"song{number}.wav,{plays:g},{likes:g},{artist}")
        manifest = tmp_path / "songs.csv"
        manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return manifest

    return make
