"""Which reader a file or folder is for."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from hitchain.blocks.samples.folder import SUFFIXES, read_file, read_folder
from hitchain.blocks.samples.sfz import read_sfz
from hitchain.blocks.samples.soundfont import SoundFont
from hitchain.blocks.samples.zone import Zone
from hitchain.errors import UserError


def shipped() -> Path:
    """The sample that plays where no other is chosen: made by tools/make_sample.py."""
    return Path(str(resources.files("hitchain") / "data" / "samples" / "tine_C4.wav"))


def read_zones(file: str | None, folder: str | None, program: str | int, root: float | None) -> list[Zone]:
    """The zones of an instrument. Raises `UserError` where the file is missing, damaged or of an unknown kind."""
    if file is not None and folder is not None:
        raise UserError("instruments/sampler takes file=... or folder=..., not both.")
    if folder is not None:
        return read_folder(Path(folder).expanduser())
    path = shipped() if file is None else Path(file).expanduser()
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise UserError(f"instrument file not found: {path}")
    kind = path.suffix.lower()
    if kind == ".sfz":
        return read_sfz(path)
    if kind == ".sf2":
        return SoundFont(path).zones(program)
    if kind in SUFFIXES:
        return read_file(path, root)
    raise UserError(f"{path} is none of {', '.join((*SUFFIXES, '.sfz', '.sf2'))}.")
