"""Real recordings as the critic keeps them: the pack that ships, a folder of the user's, or a prepared set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from hitchain.errors import UserError
from hitchain.files import read_audio
from hitchain.rater import weights
from hitchain.rater.critic.frames import FRONT_END, from_power, store, to_power
from hitchain.rater.frontend import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, FrontEnd
from hitchain.rater.shards.layout import HEAD as PREPARED

if TYPE_CHECKING:
    from hitchain.rater.shards import Prepared

AnyPlace = TypeVar("AnyPlace")
Hear = Callable[[], Iterable[Tensor]]

FORMAT = "hitchain-real"
VERSION = 1
PACK = Path(__file__).parent / "real.safetensors"
EXCERPT_SECONDS = 4.0
EXCERPT_FRAMES = round(EXCERPT_SECONDS / FRONT_END.hop_seconds)
EXCERPTS = 6
"""At most so many from a recording, spread over it: more recordings teach more than more of one."""
MOST = 400
"""At most so many recordings are kept, 80 MB of frames: thinned evenly where there are more."""
SILENT_RMS = 1e-3
FEWEST = 2
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class Real:
    """Excerpts of real recordings.

    Attributes:
        frames: (excerpts, 2, bands, frames), uint8 (see `frames.store`).
        of: for every excerpt, which recording it is from.
        names: of the recordings.
        skipped: what could not be used, and why.
    """

    frames: Tensor
    of: tuple[int, ...]
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def identity(self) -> str:
        """A fingerprint, by which a checkpoint knows the recordings it was made with."""
        return hashlib.sha256(self.frames.numpy().tobytes() + repr((self.of, self.names)).encode()).hexdigest()[:16]

    def folds(self, count: int, seed: int) -> list[list[list[int]]]:
        """The excerpts in `count` parts, a list for every recording: whole recordings, parts of like size."""
        order = np.random.default_rng([seed, 7]).permutation(len(self.names))
        groups = [[excerpt for excerpt, name in enumerate(self.of) if name == index] for index in order]
        return [groups[part::count] for part in range(count)]


def pack() -> Real:
    """The recordings that ship with hitchain, as frames; listed in docs/CREDITS.md."""
    return read(PACK)


def load(source: str | Path | None) -> Real:
    """Recordings from where a config says: None for the pack, a pack's file, a folder of audio or a prepared set.

    Raises:
        UserError: there is no such thing, or it holds fewer than two usable recordings.
    """
    if source is None:
        return pack()
    path = Path(source)
    if path.is_file():
        return read(path)
    if not path.is_dir():
        raise UserError(f"real recordings not found: {path} is neither a folder of audio nor a pack of frames.")
    return from_prepared(path) if (path / PREPARED).is_file() else from_folder(path)


def from_folder(folder: str | Path) -> Real:
    """Excerpts of every WAV, FLAC, OGG and MP3 file in a folder and the folders in it."""
    root = Path(folder)
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return from_files({path.relative_to(root).as_posix(): path for path in files}, str(root))


def from_files(files: Mapping[str, Path], where: str) -> Real:
    """Excerpts of audio files, by the name each is to have."""
    return _gather(((name, partial(_file_excerpts, path)) for name, path in _thinned(files).items()), where)


def from_prepared(folder: str | Path) -> Real:
    """Excerpts of a set made by `hitchain prepare`; its test split is left out."""
    from hitchain.rater.shards import Prepared

    prepared = Prepared(folder)
    if prepared.front_end not in (None, FRONT_END.as_dict()):
        raise UserError(
            f"{folder} was prepared with another front end than a critic's; prepare it with the default one."
        )
    usable = {entry.name: index for index, entry in enumerate(prepared.entries) if entry.split != "test"}
    hear = _audio_of if prepared.kind == "audio" else _frames_of
    return _gather(((name, partial(hear, prepared, index)) for name, index in _thinned(usable).items()), str(folder))


def excerpts(audio: Tensor, sample_rate: int) -> list[Tensor]:
    """Up to `EXCERPTS` stretches of four seconds of (channels, samples), spread evenly, those that sound.

    Audio from one second up to four is one excerpt, with silence behind it.
    """
    length = round(EXCERPT_SECONDS * sample_rate)
    front_end = FrontEnd(FRONT_END)
    found = []
    for stretch in (audio[:, start : start + length] for start in _starts(audio.shape[-1], length)):
        if float(stretch.square().mean().sqrt()) > SILENT_RMS:
            found.append(fitted(front_end(stretch[None], sample_rate)[0]))
    return found


def fitted(frames: Tensor) -> Tensor:
    """Frames (2, bands, any) as those of an excerpt: the first of them, or silence behind them."""
    frames = frames[..., :EXCERPT_FRAMES]
    return torch.nn.functional.pad(frames, (0, EXCERPT_FRAMES - frames.shape[-1]))


def write(path: str | Path, real: Real, about: Sequence[Mapping[str, str]]) -> None:
    """Write a pack: frames, and for every recording its name, what it is and its licence."""
    header = {
        "format": FORMAT, "version": VERSION, "of": list(real.of), "names": list(real.names),
        "about": [dict(entry) for entry in about], "front_end": FRONT_END.as_dict(),
    }  # fmt: skip
    weights.save_tensors(path, {"frames": real.frames.contiguous()}, header)


def read(path: str | Path) -> Real:
    """A pack that `write` wrote.

    Raises:
        UserError: it is missing, truncated or not a pack.
    """
    tensors, header = weights.load_tensors(path)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise UserError(f"{path} is not a pack of real recordings (version {VERSION}).")
    if header.get("front_end") != FRONT_END.as_dict():
        raise UserError(f"{path} was made with another front end: make it again.")
    frames, of, names = tensors.get("frames"), header.get("of"), header.get("names")
    shape = (2, FRONT_END.mel_bands, EXCERPT_FRAMES)
    if frames is None or frames.dtype != torch.uint8 or frames.shape[1:] != shape:
        raise UserError(f"{path}: its frames must be uint8 of shape (excerpts, {', '.join(map(str, shape))}).")
    if not isinstance(of, list) or not isinstance(names, list) or not _numbered(of, len(frames), len(names)):
        raise UserError(f"{path}: its header must give a recording for each of its {len(frames)} excerpts.")
    return _checked(Real(frames, tuple(of), tuple(map(str, names))), str(path))


def _numbered(of: list[Any], excerpts: int, recordings: int) -> bool:
    return len(of) == excerpts and all(type(entry) is int for entry in of) and set(of) == set(range(recordings))


def _gather(recordings: Iterable[tuple[str, Hear]], where: str) -> Real:
    frames: list[Tensor] = []
    of: list[int] = []
    names: list[str] = []
    skipped: list[str] = []
    for name, hear in recordings:
        try:
            found = list(hear())
        except UserError as error:
            skipped.append(str(error))
            continue
        if not found:
            skipped.append(f"{name} is silent")
            continue
        of += [len(names)] * len(found)
        names.append(name)
        frames += [store(excerpt) for excerpt in found]
    stacked = torch.stack(frames) if frames else torch.zeros(0, 2, FRONT_END.mel_bands, EXCERPT_FRAMES).byte()
    return _checked(Real(stacked, tuple(of), tuple(names), tuple(skipped)), where)


def _checked(real: Real, where: str) -> Real:
    if len(real.names) < FEWEST:
        why = f" Skipped: {'; '.join(real.skipped[:3])}." if real.skipped else ""
        raise UserError(
            f"{where} holds {len(real.names)} usable recordings; a critic needs at least {FEWEST}, one to learn from "
            f"and one to be calibrated on.{why}"
        )
    return real


def _file_excerpts(path: Path) -> Iterator[Tensor]:
    audio, rate = read_audio(path)
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise UserError(f"{path} has a sample rate of {rate} Hz; {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} can.")
    if audio.shape[-1] < rate:
        raise UserError(f"{path} is shorter than a second")
    yield from excerpts(audio, rate)


def _audio_of(prepared: Prepared, index: int) -> Iterator[Tensor]:
    audio = prepared.crop(index, 0, prepared.entries[index].length)
    yield from excerpts(torch.from_numpy(audio), prepared.sample_rate)


def _frames_of(prepared: Prepared, index: int) -> Iterator[Tensor]:
    """Excerpts of frames; their level, normalised over the recording, is normalised over the excerpt."""
    total = prepared.entries[index].length
    length = min(EXCERPT_FRAMES, total)
    for start in _starts(total, EXCERPT_FRAMES):
        power = to_power(torch.from_numpy(prepared.crop(index, start, length)))
        level = power.sum(dim=(0, 1)).mean()
        if float(level) > SILENT_RMS**2:
            yield fitted(from_power(power / level))


def _starts(total: int, length: int) -> list[int]:
    """Where up to `EXCERPTS` stretches of a length lie, spread evenly over a total."""
    pieces = max(1, min(EXCERPTS, total // length))
    return [round(max(0, total - length) * (piece + 0.5) / pieces) for piece in range(pieces)]


def _thinned(recordings: Mapping[str, AnyPlace]) -> dict[str, AnyPlace]:
    """At most `MOST` of the recordings, evenly chosen."""
    names = list(recordings)
    return {name: recordings[name] for name in names[:: max(1, -(-len(names) // MOST))]}
