"""Timbre transfer: the pitch and loudness of a recording, played by a learnt instrument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.ddsp import features
from hitchain.blocks.ddsp.decoder import FRAME_RATE, Decoder, partials, with_history
from hitchain.blocks.dsp import harmonic_bank
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain

RATE = 44_100
OCTAVES = 4
UNPITCHED = 30.0
"""[dB] by which what has no pitch is played softer: consonants and breath are not notes."""
_PITCHED_WINDOW = 9


@dataclass(frozen=True)
class Transfer:
    """How a recording is handed over.

    Attributes:
        transpose: [semitones], or None for the octaves that bring it into the instrument's range.
        loudness: [dB] on top. match: whether loudness is brought to the instrument's range first.
        brightness: [dB/octave]. noise_level: [dB].
    """

    transpose: float | None = None
    loudness: float = 0.0
    match: bool = True
    brightness: float = 0.0
    noise_level: float = 0.0
    seed: int = 0


@torch.no_grad()
def resynthesise(decoder: Decoder, audio: Tensor, transfer: Transfer) -> tuple[Tensor, dict[str, Any]]:
    """Mono audio (samples,) at `RATE` -> what the instrument plays (samples,), and what was done."""
    about = decoder.about
    pitch, pitched = features.pitch(audio, RATE)
    loudness = features.loudness(audio, RATE, len(pitch))
    heard = pitched & (loudness > loudness.max() - 45.0)
    moved = transfer.transpose
    if moved is None:
        centre = float(pitch[heard].median()) if heard.any() else 60.0
        moved = 12.0 * round(((about.lowest + about.highest) / 2.0 - centre) / 12.0)
        moved = min(max(moved, -12.0 * OCTAVES), 12.0 * OCTAVES)
    raised = transfer.loudness
    if transfer.match and heard.any():
        raised += about.loud - float(torch.quantile(loudness[heard], 0.9))
    voiced = torch.nn.functional.avg_pool1d(
        pitched.float()[None, None], _PITCHED_WINDOW, 1, _PITCHED_WINDOW // 2, count_include_pad=False
    )[0, 0]
    loudness = loudness + raised - UNPITCHED * (1.0 - voiced)
    played = _play(decoder, pitch + moved, loudness, audio.shape[-1], transfer)
    about_it = {
        "transposed": moved,
        "raised": raised,
        "pitched_share": float(pitched.float().mean()),
        "median_pitch": float(pitch[heard].median()) if heard.any() else None,
    }
    return played, about_it


def _play(decoder: Decoder, pitch: Tensor, loudness: Tensor, samples: int, transfer: Transfer) -> Tensor:
    pitch, loudness = pitch[None], loudness[None]
    hertz = midi_to_hz(pitch.double())
    total, shares, hiss = decoder(with_history(pitch), with_history(loudness))
    octave = torch.log2(torch.arange(1, shares.shape[-1] + 1).float())
    tilted = shares * torch.exp(transfer.brightness * math.log(10.0) / 20.0 * (octave - 1.5))
    tilted = tilted * torch.sqrt(shares.square().sum(-1, keepdim=True) / tilted.square().sum(-1, keepdim=True))
    hiss = hiss * to_gain(torch.tensor(transfer.noise_level))
    tables = harmonic_bank.noise_bands(transfer.seed, decoder.about.bands, RATE, torch.float32)
    zero, count = torch.zeros(1, dtype=torch.float64), torch.tensor([samples])
    amplitude = partials(total, tilted, hertz, RATE)
    audio = harmonic_bank.sound(
        zero, hertz, amplitude, hiss, tables, torch.zeros(1, dtype=torch.int64), count, samples, FRAME_RATE, RATE
    )
    return audio[0]
