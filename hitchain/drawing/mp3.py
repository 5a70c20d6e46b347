"""Sound as MP3, for pages that carry it."""

from __future__ import annotations

import io

import soundfile
from torch import Tensor

MP3_RATES = (32000, 44100, 48000)
"""Sample rates [Hz] that every browser plays as MP3."""


def mp3(audio: Tensor, sample_rate: int, rate: int) -> bytes:
    """MP3 at a constant bit rate. libsndfile maps its compression level linearly: 0 is 320 kbit/s, 1 is 32.

    Args:
        audio: (channels, samples), within full scale. sample_rate: one of `MP3_RATES`. rate: [kbit/s], 32 to 320.
    """
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        audio.T.contiguous().numpy(),
        sample_rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=min(max((320 - rate) / 288, 0.0), 0.99),
        bitrate_mode="CONSTANT",
    )
    return buffer.getvalue()
