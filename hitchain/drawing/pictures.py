"""Pictures of sound: the outline of a waveform, a mel spectrogram, and a PNG writer small enough to have here."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from functools import lru_cache

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

COLUMNS = 400
"""Columns of a picture, however long the sound."""

BANDS = 64
RANGE = 70.0
"""dB from white to black."""

_WINDOW = 2048
_MAGMA = np.array(  # polynomial of degree six for red, green, blue fitted to the colour map magma (Zucker 2019, CC0)
    [
        [-0.002136485053939582, -0.000749655052795221, -0.005386127855323933],
        [0.2516605407371642, 0.6775232436837668, 2.494026599312351],
        [8.353717279216625, -3.577719514958484, 0.3144679030132573],
        [-27.66873308576866, 14.26473078096533, -13.64921318813922],
        [52.17613981234068, -27.94360607168351, 12.94416944238394],
        [-50.76852536473588, 29.04658282127291, 4.23415299384598],
        [18.65570506591883, -11.48977351997711, -5.601961508734096],
    ]
)


def waveform_path(audio: Tensor, full_scale: float = 1.0, height: float = 100.0) -> str:
    """The outline of audio (channels, samples) as an SVG path in a box of `COLUMNS` by `height`.

    Every column spans the lowest to the highest sample in it; `full_scale` fills the height.
    """
    mono = (audio.mean(dim=0) / full_scale).clamp(-1.0, 1.0)
    columns = min(COLUMNS, mono.shape[0])
    edges = torch.linspace(0, mono.shape[0], columns + 1).long().tolist()
    parts = [mono[start:end] for start, end in itertools.pairwise(edges)]
    x = [COLUMNS * (index + 0.5) / columns for index in range(columns)]
    high = [height / 2 * (1.0 - float(part.max())) for part in parts]
    low = [height / 2 * (1.0 - float(part.min())) + 0.5 for part in parts]
    there = [f"{a:.1f} {b:.1f}" for a, b in zip(x, high, strict=True)]
    back = [f"{a:.1f} {b:.1f}" for a, b in zip(reversed(x), reversed(low), strict=True)]
    return "M" + "L".join(there + back) + "Z"


def mel_levels(audio: Tensor, sample_rate: int) -> NDArray[np.float64]:
    """The levels of `BANDS` mel bands, lowest last, in `COLUMNS` columns: 1 is the loudest, 0 is `RANGE` dB below."""
    mono = audio.mean(dim=0)
    padded = torch.nn.functional.pad(mono, (_WINDOW // 2, _WINDOW // 2 + max(0, _WINDOW - mono.shape[0])))
    hop = max(1, mono.shape[0] // COLUMNS)
    frames = padded.unfold(0, _WINDOW, hop)[:COLUMNS] * torch.hann_window(_WINDOW)
    power = torch.fft.rfft(frames).abs().square()
    bands = power @ _mel_bands(sample_rate)
    level = 10.0 * torch.log10(bands + 1e-10)
    peak = max(float(level.max()), -40.0)  # silence is black, not amplified noise
    scaled = ((level - peak) / RANGE + 1.0).clamp(0.0, 1.0)
    picture: NDArray[np.float64] = scaled.T.flip(0).double().numpy()
    return picture


@lru_cache(maxsize=8)
def _mel_bands(sample_rate: int) -> Tensor:
    highest = min(16000.0, sample_rate / 2)
    bands: Tensor = torchaudio.functional.melscale_fbanks(
        _WINDOW // 2 + 1, 30.0, highest, BANDS, sample_rate, norm="slaney", mel_scale="slaney"
    )
    return bands


def magma() -> NDArray[np.uint8]:
    """The colour map: (256, 3), black through purple and orange to a light yellow."""
    position = np.linspace(0.0, 1.0, 256)[:, None] ** np.arange(7)
    colours: NDArray[np.uint8] = (np.clip(position @ _MAGMA, 0.0, 1.0) * 255.0).round().astype(np.uint8)
    return colours


def png(levels: NDArray[np.float64]) -> bytes:
    """A picture (rows, columns) of values 0 to 1 as a PNG file with the colour map as its palette (ISO/IEC 15948)."""
    steps = (levels * 85.0).round().astype(np.uint8) * 3  # 86 shades: indistinguishable here, and a third smaller
    return _file(steps, 3, ((b"PLTE", magma().tobytes()),))


def png_of_colours(colours: NDArray[np.uint8]) -> bytes:
    """A picture (rows, columns, 3) of red, green and blue as a PNG file."""
    return _file(colours, 2, ())


def _file(pixels: NDArray[np.uint8], colour_type: int, palette: tuple[tuple[bytes, bytes], ...]) -> bytes:
    rows, columns = pixels.shape[:2]
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, 8, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), *palette, (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def data_uri(data: bytes, kind: str) -> str:
    """Bytes as a URI that needs no request."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
