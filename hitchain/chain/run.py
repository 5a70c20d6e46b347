"""Run folders: where the commands leave their results, and how a song's audio gets there."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import hitchain
from hitchain import dither
from hitchain.blocks.notes.midi import write_midi
from hitchain.chain import config as configs
from hitchain.chain import patch as patches
from hitchain.chain.chain import STAGES, Bus, Song
from hitchain.chain.patch import Patch
from hitchain.errors import UserError
from hitchain.files import write_json, write_text, write_wav

FORMATS = ("FLOAT", "PCM_24", "PCM_16")


@dataclass(frozen=True)
class Format:
    """How WAV files are written: libsndfile's name of the format, and the dither of the integer ones."""

    subtype: str = "FLOAT"
    dither: str = "none"


def default_folder(command: str) -> Path:
    """runs/<command>-<date>-<time>, in the current folder."""
    return Path("runs") / f"{command}-{time.strftime('%Y%m%d-%H%M%S')}"


def begin(folder: Path, config: Mapping[str, Any]) -> None:
    """Make a run folder and write its config.yaml.

    Raises:
        UserError: the folder cannot be written, or holds a run of another command, or a climb: what was computed before
            is never written over. (A render may be written again over the same command's.)
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"out={folder} is a file; give a folder.")
    kept = folder / "config.yaml"
    if kept.exists() and (config["command"] != "render" or configs.read(kept).get("command") != "render"):
        hint = f" Go on with it by resume={folder}, or" if config["command"] == "optimize" else ""
        raise UserError(f"out={folder} already holds a run.{hint} choose another folder with out=FOLDER.")
    write_text(kept, configs.dump({**config, "out": str(folder)}))


def check_space(folder: Path, song: Song) -> None:
    """Raise `UserError` where the disk has no room for the stems of `song` (float32, stereo at worst)."""
    stems = sum(len(STAGES) - 1 for _ in song.tracks.values()) + 3
    needed = stems * round(song.length * song.sample_rate) * 8
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"not enough room in {folder}: up to {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free. "
            "Choose another folder with out=FOLDER."
        )


@torch.no_grad()
def write_audio(folder: Path, song: Song, patch: Patch, kind: Format | None = None) -> torch.Tensor:
    """Write every stem, mix.wav, master.wav, notes.mid and patch.json of one candidate. Returns the master.

    Each file has dither of its own, so that the dither of stems does not add up in phase.
    """
    kind = kind or Format()
    numbers = {stage: index for index, stage in enumerate(STAGES)} | {Bus.first: 1}
    master = torch.zeros(1, 2, 1)
    for track, stage, audio in song.stems(patch):
        name = f"stems/{track}/{numbers[stage]}-{stage}.wav" if track else f"{stage}.wav"
        seed = patches.block_seed(patch.seed, name)
        write_wav(folder / name, audio[0], song.sample_rate, kind.subtype, kind.dither, seed)
        if stage == "master":
            master = audio
    write_notes(folder / "notes.mid", song, patch)
    patches.save(folder / "patch.json", patch, song.blocks(), song.name)
    return master


def write_notes(path: Path, song: Song, patch: Patch) -> None:
    """Write the notes as the patch has them played, a track for each track."""
    players = [track for track in song.tracks.values() if not isinstance(track, Bus)]
    parts = [replace(track.part, name=track.name, notes=track.perform(patch)) for track in players]
    write_midi(path, parts, song.tempo_map, song.name)


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write result.json, with the environment it was made in."""
    write_json(folder / "result.json", {**result, "environment": environment()})


def environment() -> dict[str, Any]:
    """Versions and machine, for the report."""
    return {
        "hitchain": hitchain.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def checked_format(config: Mapping[str, Any]) -> Format:
    """The WAV format of a config. Raises `UserError` where there is none such, or its dither does not suit it."""
    subtype, kind = str(config["format"]), str(config.get("dither", "tpdf"))
    if subtype not in FORMATS:
        raise UserError(f"format={subtype} should be FLOAT (32-bit float), PCM_24 or PCM_16.")
    dither.check(kind, config["sample_rate"] if subtype != "FLOAT" else dither.SHAPED_RATES[0])
    return Format(subtype, kind)
