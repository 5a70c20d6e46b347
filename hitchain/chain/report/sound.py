"""Sound inside a page: compressed to a size the page can bear, with the pictures and the loudness of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile

from hitchain import files
from hitchain.blocks.dsp.loudness import integrated_loudness
from hitchain.drawing import pictures
from hitchain.drawing.mp3 import MP3_RATES, mp3
from hitchain.errors import UserError

BUDGET = 9_500_000
"""Bytes of compressed audio in a page; base64 makes them a third more."""

MASTER_RATE = 160
"""kbit/s of the masters."""

_LOWEST_RATE, _HIGHEST_RATE = 40, 80  # kbit/s of the stages: what is left of the budget, within these
_SAME = 1e-4  # channels closer than this (-80 dB) are one


@dataclass(frozen=True)
class Sound:
    """A sound as a page shows it.

    Attributes:
        source: a data URI holding MP3. seconds: of what it holds. full_seconds: of the file it is from.
        loudness: [LUFS], integrated. peak: largest sample [dBFS]. attenuation: [dB] of `source` against the file.
        outline: SVG path of the waveform. spectrogram: a data URI holding PNG.
    """

    source: str
    seconds: float
    full_seconds: float
    loudness: float
    peak: float
    attenuation: float
    outline: str
    spectrogram: str


def load_all(masters: Iterable[Path], stages: Iterable[Path]) -> dict[Path, Sound | str]:
    """Every file as a `Sound`, or as the words for why it cannot be heard.

    The masters are whole and at `MASTER_RATE`. The stages share what is left of the `BUDGET`; where that is too little
    for all of them to be whole, each is cut after the same number of seconds.
    """
    masters, stages = list(dict.fromkeys(masters)), list(dict.fromkeys(stages))
    for_masters = sum(_seconds(path) for path in masters) * MASTER_RATE * 125
    for_stages = max(BUDGET - for_masters, BUDGET / 3)
    rate, longest = share([_seconds(path) for path in stages], for_stages)
    jobs: list[tuple[Path, int, float | None, bool]] = [(path, MASTER_RATE, None, True) for path in masters]
    jobs += [(path, rate, longest, False) for path in stages]
    with ThreadPoolExecutor(max_workers=2) as pool:  # decoding and encoding leave the interpreter free
        return dict(zip([job[0] for job in jobs], pool.map(lambda job: load(*job), jobs), strict=True))


def share(seconds: list[float], budget: float) -> tuple[int, float | None]:
    """Sounds of these lengths into so many bytes: the bit rate [kbit/s], and after how many seconds each must end."""
    total = sum(seconds)
    rate = int(min(max(budget / 125 / max(total, 1e-9), _LOWEST_RATE), _HIGHEST_RATE))
    if total * rate * 125 <= budget:
        return rate, None
    return rate, max(1.0, budget / 125 / rate / len(seconds))


def load(path: Path, rate: int, longest: float | None = None, to_scale: bool = True) -> Sound | str:
    """One file as a `Sound` at about `rate` kbit/s, cut after `longest` seconds; or why not.

    Its waveform is drawn to full scale where `to_scale`, else to its own peak.
    """
    try:
        audio, sample_rate = files.read_audio(path)
        if sample_rate not in MP3_RATES:
            audio, sample_rate = files.read_audio(path, 44100)
    except UserError as error:
        return str(error)
    kept = audio if longest is None else audio[:, : max(1, round(longest * sample_rate))]
    if kept.shape[0] == 2 and float((kept[0] - kept[1]).abs().max()) < _SAME:
        kept = kept[:1]
    levels = pictures.mel_levels(kept, sample_rate)
    peak = max(float(audio.abs().max()), 1e-8)
    headroom = max(peak, 1.0)  # a stem may exceed full scale, which MP3 would clip
    return Sound(
        source=pictures.data_uri(mp3(kept / headroom, sample_rate, rate), "audio/mpeg"),
        seconds=kept.shape[1] / sample_rate,
        full_seconds=audio.shape[1] / sample_rate,
        loudness=float(integrated_loudness(audio[None], sample_rate)),
        peak=20.0 * math.log10(peak),
        attenuation=20.0 * math.log10(headroom),
        outline=pictures.waveform_path(kept, 1.0 if to_scale else peak),
        spectrogram=pictures.data_uri(pictures.png(levels), "image/png"),
    )


def _seconds(path: Path) -> float:
    try:
        return float(soundfile.info(str(path)).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        return 0.0
