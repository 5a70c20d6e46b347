"""How a recording sounds, as one vector: the statistics of its log-mel frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
STRETCH = 4.0
"""[s] A recording is cut into stretches about as long as the windows of a climb."""
MOST_STRETCHES = 30
SHORTEST = 1.0


@lru_cache(maxsize=1)
def _front_end() -> FrontEnd:
    return FrontEnd()


def embed(audio: Tensor, sample_rate: int) -> Tensor:
    """Mean and standard deviation over time of each log-mel band of middle and side [dB].

    The frames are those every rater hears: level-normalised, -70 dB to 0. A simple timbre model of the family of
    Logan and Salomon (ICME 2001) and Pampalk (2006).

    Args:
        audio: (batch, channels, samples), a second or more.

    Returns:
        (batch, 2 x 2 x bands). Differentiable; finite at silence.
    """
    front_end = _front_end()
    frames = front_end(audio, sample_rate) * -front_end.settings.floor_db
    deviation = (frames.var(dim=-1, correction=0) + 1e-4).sqrt()
    return torch.cat([frames.mean(dim=-1), deviation], dim=-1).flatten(1)


def distances(one: Tensor, others: Tensor) -> Tensor:
    """Root mean square difference of embeddings (batch, size) from others (count, size): (batch, count) [dB]."""
    return ((one[:, None] - others.to(one)[None]).square().mean(dim=-1) + 1e-8).sqrt()


@torch.no_grad()
def embed_file(path: str | Path) -> Tensor:
    """Up to `MOST_STRETCHES` stretches of a recording, spread over it: (stretches, size).

    Raises `UserError` where it cannot be read or is shorter than a second.
    """
    from hitchain.files import read_audio

    audio, sample_rate = read_audio(path)
    if audio.shape[-1] < SHORTEST * sample_rate:
        raise UserError(f"{path} is shorter than a second; it cannot be compared with.")
    length = min(audio.shape[-1], round(STRETCH * sample_rate))
    count = max(1, min(MOST_STRETCHES, audio.shape[-1] // length))
    room = audio.shape[-1] - length
    starts = [round(room * (index + 0.5) / count) for index in range(count)]
    return torch.cat([embed(audio[None, :2, start : start + length], sample_rate) for start in starts])


def recordings(folder: str | Path) -> Sequence[Path]:
    """The sound files in a folder and the folders in it. Raises `UserError` where there is none."""
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"folder of recordings not found: {root}")
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"{root} holds no WAV, FLAC, OGG or MP3 file.")
    return found
