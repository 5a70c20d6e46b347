"""The meters against tones whose readings are known, and the EBU's sequences."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hitchain.blocks.dsp.meter import BANDS, measure
from hitchain.files import read_audio

EBU = Path(__file__).parents[4] / "shared" / "data" / "music" / "essentia-audio" / "ebur128"
RATE = 48000


def _sine(hertz: float, level: float, seconds: float = 4.0) -> Tensor:
    time = torch.arange(round(seconds * RATE), dtype=torch.float64) / RATE
    return 10 ** (level / 20) * torch.sin(2 * math.pi * hertz * time)


def test_a_tone_reads_what_the_standards_say() -> None:
    """EBU Tech 3341: a 1 kHz stereo sine of -23 dBFS peak reads -23 LUFS on every meter."""
    tone = _sine(1000.0, -23.0)
    meters = measure(torch.stack([tone, tone]), RATE)
    for reading in (meters.integrated, meters.momentary, meters.short_term):
        assert reading == pytest.approx(-23.0, abs=0.05)
    assert meters.true_peak == pytest.approx(-23.0, abs=0.05)
    assert meters.loudness_range == pytest.approx(0.0, abs=0.05)
    assert meters.peak_to_loudness == pytest.approx(0.0, abs=0.1)
    assert meters.correlation == pytest.approx(1.0)
    assert meters.clipped == 0


def test_image_offset_and_clipping() -> None:
    tone = _sine(440.0, -6.0)
    turned = measure(torch.stack([tone, -tone]), RATE)
    assert turned.correlation == pytest.approx(-1.0)
    assert turned.side > 100
    assert measure(torch.stack([tone, 0.5 * tone]), RATE).balance == pytest.approx(6.02, abs=0.01)
    assert measure(torch.stack([tone + 0.1, tone]), RATE).offset == pytest.approx(0.1, abs=1e-4)
    assert measure((3.0 * tone).clamp(-1.0, 1.0)[None], RATE).clipped > 1000
    assert measure(torch.zeros(2, RATE), RATE).correlation == 0.0


def test_a_tone_stands_in_its_third_octave() -> None:
    for name in ("63", "1000", "8000"):
        bands = measure(_sine(BANDS[name], -12.0)[None], RATE).bands
        assert max(bands, key=lambda key: bands[key]) == name
        assert bands[name] == pytest.approx(0.0, abs=0.1)


@pytest.mark.skipif(not EBU.is_dir(), reason="the EBU sequences (shared/data) are not here")
@pytest.mark.parametrize(
    ("file", "integrated", "loudness_range"),
    [
        ("seq-3341-1-16bit.flac", -23.0, None),
        ("seq-3341-2-16bit.flac", -33.0, None),
        ("seq-3341-3-16bit-v02.flac", -23.0, None),
        ("seq-3341-7_seq-3342-5-16bit.flac", -23.0, 5.0),
        ("seq-3342-1-16bit.flac", None, 10.0),
        ("seq-3342-2-16bit.flac", None, 5.0),
        ("seq-3342-3-16bit.flac", None, 20.0),
        ("seq-3342-4-16bit.flac", None, 15.0),
    ],
)
def test_the_ebu_sequences(file: str, integrated: float | None, loudness_range: float | None) -> None:
    """Tolerances of EBU Tech 3341 and 3342: 0.1 LU and 1 LU."""
    audio, rate = read_audio(EBU / file)
    meters = measure(audio, rate)
    if integrated is not None:
        assert meters.integrated == pytest.approx(integrated, abs=0.1)
    if loudness_range is not None:
        assert meters.loudness_range == pytest.approx(loudness_range, abs=1.0)
