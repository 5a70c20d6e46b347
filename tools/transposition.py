"""Transposed recordings beside true ones: `python tools/transposition.py [FLUIDR3.sf2] [--step N]`.

For pairs of recordings of one instrument up to an octave apart, one is transposed to the other's pitch: by the sampler
in its three ways, by librosa.effects.pitch_shift and by pedalboard's PitchShift (Rubber Band). All start from the same
held note. Two distances to the true recording are printed, in dB, of a whole second brought to the same level:

    spectrogram   RMS difference of 64-band log-mel spectrograms (where either is within 60 dB of its peak)
    harmonics     RMS difference of the levels of the harmonics below 8 kHz (same, of 0.3 s to 0.9 s)

The recordings are FluidR3_GM's (Debian's fluid-soundfont-gm), which maps several true pitches of each instrument.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pedalboard
import torch

from hitchain.blocks.instruments.sampler import Sampler
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.samples.prepared import KEEP
from hitchain.blocks.samples.soundfont import SoundFont
from hitchain.blocks.samples.zone import Zone

RATE = 44_100
SECONDS = 1.0
DEFAULT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
INSTRUMENTS = {"flute": 73, "clarinet": 71, "oboe": 68, "trumpet": 56, "violin": 40, "cello": 42, "nylon guitar": 24}
RANGES = ((1, 4), (5, 8), (9, 12))
Distances = tuple[float, float]


def recordings(font: SoundFont, program: int) -> list[Zone]:
    """One recording for each pitch, of one velocity layer and one side, as one-zone instruments."""
    found: dict[float, Zone] = {}
    for zone in font.zones(f"0:{program}"):
        if zone.velocities[1] >= 100 >= zone.velocities[0]:
            plain = replace(zone, keys=(0.0, 127.0), velocities=(0.0, 127.0), pan=0.0, gain=1.0)
            found.setdefault(round(zone.root, 2), plain)
    return [found[root] for root in sorted(found)]


def play(zone: Zone, pitch: float, keep: str) -> np.ndarray:
    """A held note of a recording at a pitch, (samples,)."""
    sampler = Sampler(RATE, keep=keep)
    sampler.zones, sampler.stereo, sampler.loudness = [zone], zone.stereo, 1.0
    settings = sampler.defaults()
    notes = Notes.of([0.0], [2.0], [pitch], [1.0], length=SECONDS + 0.3)
    return sampler(notes, settings)[0].mean(dim=0).numpy()


def ways(zone: Zone, semitones: float) -> dict[str, Callable[[], np.ndarray]]:
    """Each way of transposing a recording."""
    held = play(zone, zone.root, "none")
    shift = pedalboard.PitchShift(semitones=semitones)
    return {
        **{f"sampler, keep={keep}": lambda keep=keep: play(zone, zone.root + semitones, keep) for keep in KEEP},
        "librosa pitch_shift": lambda: librosa.effects.pitch_shift(held, sr=RATE, n_steps=semitones),
        "pedalboard PitchShift": lambda: shift(held[None], RATE)[0],
    }


def distances(audio: np.ndarray, true: np.ndarray, hertz: float) -> Distances:
    """(of spectrograms, of harmonics) [dB]."""
    one, other = (_aligned(x) for x in (audio, true))
    mels = [librosa.feature.melspectrogram(y=x, sr=RATE, n_fft=2048, hop_length=512, n_mels=64) for x in (one, other)]
    logs = [10 * np.log10(m / m.max() + 1e-6) for m in mels]
    part = slice(round(0.3 * RATE), round(0.9 * RATE))
    levels = [_harmonics(x[part], hertz) for x in (one, other)]
    difference = levels[0] - levels[1]
    return float(np.sqrt(np.mean((logs[0] - logs[1]) ** 2))), float(np.sqrt(np.mean(difference**2)))


def _aligned(audio: np.ndarray) -> np.ndarray:
    """From its onset (-30 dB of its peak) on, of unit RMS."""
    onset = int(np.argmax(np.abs(audio) > 0.03 * np.abs(audio).max()))
    samples = round(SECONDS * RATE)
    part = np.pad(audio[onset : onset + samples], (0, max(0, samples - len(audio) + onset)))
    return part / max(float(np.sqrt(np.mean(part**2))), 1e-9)


def _harmonics(audio: np.ndarray, hertz: float) -> np.ndarray:
    """[dB] of each harmonic, none below -60 of the strongest, less their mean."""
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    bins = np.fft.rfftfreq(len(audio), 1 / RATE)
    count = max(1, min(20, int(8000 / hertz)))
    sums = [power[np.abs(bins - k * hertz) < 0.03 * k * hertz + 8].sum() for k in range(1, count + 1)]
    levels = np.maximum(10 * np.log10(np.array(sums) / max(sums) + 1e-12), -60.0)
    return levels - levels.mean()


def measure(font: SoundFont, step: int) -> dict[tuple[str, tuple[int, int]], list[Distances]]:
    """Every `step`-th pair of every instrument, both ways."""
    found: dict[tuple[str, tuple[int, int]], list[Distances]] = defaultdict(list)
    for program in INSTRUMENTS.values():
        zones = recordings(font, program)
        pairs = [(a, b) for a in zones for b in zones if a is not b and abs(a.root - b.root) <= 12.3]
        for source, target in pairs[::step]:
            semitones = target.root - source.root
            size = min(max(math.ceil(abs(semitones) - 0.5), 1), 12)
            group = next(group for group in RANGES if group[0] <= size <= group[1])
            true, hertz = play(target, target.root, "none"), 440.0 * 2 ** ((target.root - 69) / 12)
            for way, made in ways(source, semitones).items():
                found[way, group].append(distances(made(), true, hertz))
    return found


def table(found: dict[tuple[str, tuple[int, int]], list[Distances]]) -> str:
    """Markdown: spectrogram / harmonics."""
    counts = {group: len(found[f"sampler, keep={KEEP[0]}", group]) for group in RANGES}
    heads = [f"{a} to {b} semitones ({counts[a, b]} pairs)" for a, b in RANGES]
    lines = ["| way | " + " | ".join(heads) + " |", "|---" * (len(RANGES) + 1) + "|"]
    for way in dict.fromkeys(way for way, _ in found):
        cells = [" / ".join(f"{value:.1f}" for value in np.mean(found[way, group], axis=0)) for group in RANGES]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Transposed recordings beside true ones.")
    parser.add_argument("soundfont", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--step", type=int, default=9, help="every so many pairs (1 takes all)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(table(measure(SoundFont(given.soundfont), given.step)))


if __name__ == "__main__":
    main()
