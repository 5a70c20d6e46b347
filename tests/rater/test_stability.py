"""A song's rating hardly depends on how it was cropped, stored, sampled or levelled.

For every architecture, freshly initialised, what holds by construction: level, sample rate, length. For the shipped
rater on real recordings, everything, in units of the distance between music and noise: a rating is an estimate, and
what a codec or another crop changes should stay small against what it is there to tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from scipy.signal import resample
from torch import Tensor

from hitchain import rater
from hitchain.files import read_audio
from hitchain.rater import networks
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.networks import ARCHITECTURES

RATE = 44_100
RECORDINGS = (
    "music/librosa/Kevin_MacLeod_-_Vibe_Ace.hq.ogg",
    "music/librosa/Karissa_Hobbs_-_Lets_Go_Fishin.hq.ogg",
)
# Share of the distance to noise that a rating may move. Lossy files lose the top octave, where some faults show.
CONTAINERS = {
    "wav": ("PCM_16", 0.005), "flac": ("PCM_24", 0.002), "ogg": ("VORBIS", 0.08), "mp3": ("MPEG_LAYER_III", 0.08),
}  # fmt: skip


def make(architecture: str) -> rater.Rater:
    """A fresh rater; larger weights than usual make it tell sounds apart."""
    torch.manual_seed(0)
    network = networks.create(architecture, 80)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    return rater.Rater([network], FrontEndSettings(), [architecture], [{}]).eval().requires_grad_(False)


def noise(samples: int) -> Tensor:
    return 0.1 * torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(0))


def resampled(audio: Tensor, source: int, target: int) -> Tensor:
    """The same sound at another rate, through one long Fourier transform."""
    return torch.from_numpy(resample(audio.numpy(), round(audio.shape[-1] * target / source), axis=-1)).float()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_network_hears_neither_level_nor_sample_rate(architecture: str, music: Tensor) -> None:
    judge = make(architecture)
    distance = float((judge(music, RATE) - judge(noise(music.shape[-1]), RATE)).abs())
    for decibels in (-30.0, 12.0):
        level = judge(music * 10.0 ** (decibels / 20.0), RATE)
        assert float((level - judge(music, RATE)).abs()) < 0.01 * distance
    for other in (48_000, 96_000):
        moved = judge(resampled(music, RATE, other), other)
        assert float((moved - judge(music, RATE)).abs()) < 0.1 * distance


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "self_similarity"])
def test_a_fresh_network_rates_a_loop_alike_however_long(architecture: str, band: Callable[..., Tensor]) -> None:
    judge, audio = make(architecture), band(24.0, 16_000)  # its chords repeat every eight seconds
    ratings = torch.cat([judge(audio[..., : seconds * 16_000], 16_000) for seconds in (8, 16, 24)])
    distance = float((ratings[0] - judge(noise(8 * 16_000), 16_000)).abs())
    assert float(ratings.max() - ratings.min()) < 0.25 * distance


def shared() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "data", parent.parent / "shared" / "data"):
            if (folder / "SOURCES.tsv").is_file():
                return folder
    return None


@pytest.fixture(scope="module", params=RECORDINGS)
def recording(request: pytest.FixtureRequest) -> tuple[Tensor, int, float]:
    """Thirty seconds of a recording, its rate, and how far the shipped rater puts it above noise."""
    data = shared()
    if data is None or not (data / request.param).is_file():
        pytest.skip("the shared recordings are not on this machine")
    audio, rate = read_audio(data / request.param)
    audio = audio[None, :, 10 * rate : 40 * rate]
    appeal = rater.load("appeal")
    distance = float(appeal.rate(audio, rate).mean() - appeal.rate(noise(10 * rate), rate).mean())
    assert distance > 0.3
    return audio, rate, distance


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_the_container_hardly_moves_a_real_song(
    recording: tuple[Tensor, int, float], suffix: str, tmp_path: Path
) -> None:
    audio, rate, distance = recording
    subtype, tolerance = CONTAINERS[suffix]
    audio = 0.5 * audio[..., : 10 * rate]
    soundfile.write(tmp_path / f"song.{suffix}", audio[0].T.numpy(), rate, subtype=subtype)
    read, read_rate = read_audio(tmp_path / f"song.{suffix}")
    appeal = rater.load("appeal")
    moved = float((appeal.rate(read[None], read_rate) - appeal.rate(audio, rate)).mean())
    assert abs(moved) < tolerance * distance


def test_level_and_sample_rate_hardly_move_a_real_song(recording: tuple[Tensor, int, float]) -> None:
    audio, rate, distance = recording
    audio = audio[..., : 10 * rate]
    appeal = rater.load("appeal")
    for decibels in (-30.0, 12.0):
        level = appeal.rate(audio * 10.0 ** (decibels / 20.0), rate)
        assert float((level - appeal.rate(audio, rate)).mean().abs()) < 0.005 * distance
    for other in (32_000, 48_000):
        moved = appeal.rate(resampled(audio, rate, other), other)
        assert float((moved - appeal.rate(audio, rate)).mean().abs()) < 0.03 * distance


def test_crops_of_a_real_song_rate_alike(recording: tuple[Tensor, int, float]) -> None:
    """Parts of a song are different music: their deviation stays under a fifth of the distance to noise."""
    audio, rate, distance = recording
    appeal = rater.load("appeal")
    crops = [audio[..., round(start * rate) : round((start + 10) * rate)] for start in (0, 5, 10, 15, 20)]
    ratings = torch.cat([appeal.rate(crop, rate).mean(1) for crop in crops])
    assert float(ratings.std()) < 0.2 * distance
    # A crop moved by less than a frame is the same music.
    shifted = appeal.rate(audio[..., 7 : 7 + 10 * rate], rate)
    assert float((shifted - appeal.rate(crops[0], rate)).mean().abs()) < 0.03 * distance
