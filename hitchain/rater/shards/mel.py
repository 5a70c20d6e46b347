"""Log-mel frames of a decoded recording, in blocks: the frames that the front end gives the recording as a whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.rater.frontend import SILENCE_RMS, FrontEnd, FrontEndSettings, sizes
from hitchain.rater.shards.decode import Decoded
from hitchain.rater.shards.layout import SAMPLE_RATE

BLOCK_FRAMES = 1_000


class Mel:
    """Encodes a recording as float16 frames (frames, 2, bands)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.front_end = FrontEnd(FrontEndSettings(**settings))
        _, self.n_fft, self.hop = sizes(self.front_end.settings, SAMPLE_RATE)
        self.form = ("<f2", (2, self.front_end.settings.mel_bands))

    def __call__(self, decoded: Decoded, append: Callable[[NDArray[Any]], None]) -> tuple[float, int]:
        """Append all frames; returns the scale (1) and how many frames there are."""
        samples = decoded.levels.samples
        level = math.sqrt(decoded.levels.squares / (2 * samples) + SILENCE_RMS**2)
        frames = 1 + samples // self.hop
        with _one_thread(), torch.inference_mode():
            for first in range(0, frames, BLOCK_FRAMES):
                append(self._frames(decoded, first, min(BLOCK_FRAMES, frames - first), level))
        return 1.0, frames

    def _frames(self, decoded: Decoded, first: int, count: int, level: float) -> NDArray[np.float16]:
        """A block of frames, from audio that reaches as far to either side as their windows do."""
        margin = -(-(self.n_fft // 2) // self.hop)
        before = min(first, margin)
        begin = (first - before) * self.hop
        end = min(decoded.levels.samples, (first + count - 1 + margin) * self.hop + 1)
        audio = torch.from_numpy(decoded.read(begin, end - begin).T / np.float32(level))
        frames = self.front_end.frames(audio[None], SAMPLE_RATE)[0, :, :, before : before + count]
        return frames.permute(2, 0, 1).to(torch.float16).numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread each for several processes, and the same sums in the same order however many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
