"""The instrument of a track as an SFZ instrument: one WAV for every third key and a few velocities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hitchain.blocks.block import Block, Instrument
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import START, Settings
from hitchain.chain.chain import Track
from hitchain.chain.export.session import Session, file_name
from hitchain.errors import UserError
from hitchain.files import write_text, write_wav

STEP = 3  # semitones between samples: no key is transposed by more than one
BEYOND = 12  # semitones past the notes that the track plays
LAYERS = ((1, 55, 0.3), (56, 100, 0.65), (101, 127, 0.95))  # lowest and highest MIDI velocity, velocity sampled
HELD = 4.0  # s a key is held
STRUCK = 2.0  # s for a drum
LONGEST_TAIL = 8.0  # s
SILENT = 1e-4  # of full scale, from which on a sample is cut off


@dataclass(frozen=True)
class Region:
    """One sample and the keys it plays."""

    centre: int
    low: int
    high: int
    layer: tuple[int, int, float]

    @property
    def name(self) -> str:
        """Of its WAV file."""
        return f"{self.centre:03d}-{self.layer[1]:03d}.wav"


def write(session: Session, out: Path) -> dict[str, Any]:
    """An SFZ file and its samples for each track that plays an instrument. Returns what export.json tells."""
    instruments, said = [], []
    for track in session.tracks:
        players = [(path, block) for path, block in track.instrument.members if isinstance(block, Instrument)]
        if not players or not track.notes.count:
            continue
        path, block = players[0]
        settings = _settled(block, session.song.start.of(path))
        drums = bool(getattr(block, "plays_drums", False))
        regions = regions_of(track, drums)
        folder = file_name(track.name)
        for region in regions:
            sample = play(block, settings, region.centre, region.layer[2], STRUCK if drums else HELD)
            write_wav(out / folder / region.name, sample, session.song.sample_rate)
        release = _release(settings)
        text = _sfz(session, path, block, folder, regions, drums, release)
        write_text(out / f"{folder}.sfz", text)
        instruments.append({"track": track.name, "file": f"{folder}.sfz", "samples": len(regions)})
        said.append(f"sfz      {folder}.sfz: {block.name}, {len(regions)} samples")
    if not instruments:
        raise UserError(f"{session.folder}: none of the tracks plays notes on an instrument.")
    return {"instruments": instruments, "said": said}


def regions_of(track: Track, drums: bool) -> list[Region]:
    """What is sampled: the drums that are played, or every third key around the notes."""
    pitches = [round(float(pitch)) for pitch in track.notes.pitch[0]]
    if drums:
        keys = [(key, key, key) for key in sorted(set(pitches))]
    else:
        first, last = max(min(pitches) - BEYOND, 12), min(max(pitches) + BEYOND, 120)
        keys = [(key, key - STEP // 2, key + STEP // 2) for key in range(first + STEP // 2, last + STEP // 2 + 1, STEP)]
    return [Region(centre, low, high, layer) for centre, low, high in keys for layer in LAYERS]


@torch.no_grad()
def play(block: Block, settings: Settings, key: int, velocity: float, held: float) -> Tensor:
    """One note (channels, samples), with its tail, cut where it has died away."""
    tail = min(block.tail(settings), LONGEST_TAIL)
    note = Notes.of([0.0], [held], [float(key)], [velocity], length=held + tail)
    audio = torch.as_tensor(block(note, settings))[0]
    loud = (audio.abs().amax(dim=0) > SILENT).nonzero()
    return audio[:, : int(loud[-1, 0]) + 1 if len(loud) else 1]


def _settled(block: Block, settings: dict[str, Tensor]) -> dict[str, Tensor]:
    """Settings for a single note: what has a value per note or through time, at its mean."""
    single = {parameter.name for parameter in block.parameters if not hasattr(parameter, "options")}
    values = {
        key: value.mean(dim=-1) if key in single and value.ndim == 2 else value for key, value in settings.items()
    }
    return {**values, START: torch.tensor(0.0, dtype=torch.float64)}


def _release(settings: Settings) -> float:
    """Seconds in which a key let go dies away: the instrument's own, where it has that knob in ms."""
    return float(settings["release"]) / 1000.0 if "release" in settings else 0.1


def _sfz(
    session: Session, path: str, block: Block, folder: str, regions: list[Region], drums: bool, release: float
) -> str:
    mode = "one_shot" if drums else "no_loop"
    lines = [
        f"// {block.name} as set at {path} of the song {session.song.name!r}; exported by hitchain",
        "<control>",
        f"default_path={folder}/",
        "<global>",
        f"loop_mode={mode}",
        "amp_veltrack=0",  # the samples have the loudness of their velocity
        f"ampeg_release={release:.4f}",
    ]
    for region in regions:
        low, high, _ = region.layer
        lines.append(
            f"<region> sample={region.name} lokey={region.low} hikey={region.high} pitch_keycenter={region.centre} "
            f"lovel={low} hivel={high}"
        )
    return "\n".join(lines) + "\n"
