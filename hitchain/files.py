"""Reading and writing files so that nothing bad gets in and nothing half-written is left behind.

Audio is read through soundfile (WAV, FLAC, OGG, MP3). Every write goes to a temporary name beside its target and is
renamed when complete, so a killed command never leaves a broken file under a final name.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitchain.errors import UserError

if TYPE_CHECKING:
    import torch

LOWEST_SAMPLE_RATE = 4_000
HIGHEST_SAMPLE_RATE = 768_000


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends without an error.

    Raises `UserError` where the folder cannot be written or the disk is full.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes private files; give what open() would have given
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}. Choose another folder with out=FOLDER."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes to a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text (UTF-8) to a file, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as indented JSON, whole or not at all. NaN and infinity are refused: JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], what: str = "JSON file") -> Any:
    """The value in a JSON file. Raises `UserError` naming file and line where it is missing or malformed."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{what} not found: {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {what} {path}: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{what} {path} is not valid JSON: {error}") from error


def read_audio(path: str | os.PathLike[str], sample_rate: int | None = None) -> tuple[torch.Tensor, int]:
    """Read a sound file.

    Args:
        path: a WAV, FLAC, OGG or MP3 file.
        sample_rate: resample to this rate [Hz]; None keeps the file's own.

    Returns:
        audio float32 of shape (channels, samples), channels 1 or 2, and its sample rate. More than two channels are
        mixed to two: odd-numbered channels left, even-numbered right.

    Raises:
        UserError: the file is missing, empty, not audio, truncated past decoding, or holds NaN or infinity.
    """
    import numpy as np
    import soundfile
    import torch

    name = Path(path)
    if not name.exists():
        raise UserError(f"audio file not found: {name}")
    if name.is_dir():
        raise UserError(f"{name} is a folder; give one audio file.")
    if name.stat().st_size == 0:
        raise UserError(f"audio file is empty (0 bytes): {name}")
    try:
        data, rate = soundfile.read(str(name), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise UserError(f"cannot decode {name} as audio ({error}). WAV, FLAC, OGG and MP3 can be read.") from error
    if data.shape[0] == 0:
        raise UserError(f"audio file holds no samples (empty or truncated): {name}")
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise UserError(
            f"{name} has a sample rate of {rate} Hz; {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} can be read."
        )
    if not np.isfinite(data).all():
        first = int(np.argwhere(~np.isfinite(data))[0, 0])
        raise UserError(f"{name} holds NaN or infinity (first at sample {first}); export it again without.")
    if data.shape[1] > 2:
        data = np.stack([data[:, 0::2].mean(axis=1), data[:, 1::2].mean(axis=1)], axis=1)
    audio = torch.from_numpy(np.ascontiguousarray(data.T))
    if sample_rate is not None and sample_rate != rate:
        audio = _resample(audio, rate, sample_rate)
        rate = sample_rate
    return audio, rate


def _resample(audio: torch.Tensor, rate: int, target: int) -> torch.Tensor:
    """Polyphase resampling with an 80-dB-class Kaiser window (scipy.signal.resample_poly)."""
    import math

    import numpy as np
    import scipy.signal
    import torch

    divisor = math.gcd(rate, target)
    data = scipy.signal.resample_poly(
        audio.numpy(), target // divisor, rate // divisor, axis=-1, window=("kaiser", 12.0)
    )
    return torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))


def write_wav(
    path: str | os.PathLike[str],
    audio: torch.Tensor,
    sample_rate: int,
    subtype: str = "FLOAT",
    dither: str = "none",
    seed: int = 0,
) -> None:
    """Write audio of shape (channels, samples) as WAV, whole or not at all.

    Args:
        subtype: "FLOAT" (32-bit float), "PCM_24" or "PCM_16"; the latter two clip at full scale.
        dither: of the integer formats: "none", "tpdf" or "shaped" (see `hitchain.dither`).
        seed: of the dither.

    The same audio always gives the same bytes: no time stamp is written.
    """
    import soundfile

    from hitchain import dither as dithering

    if subtype == "FLOAT":
        data = audio.detach().cpu().T.contiguous().numpy()
    else:
        dithering.check(dither, sample_rate)
        bits = dithering.BITS[subtype]
        data = dithering.quantise(audio, bits, dither, seed).T << (32 - bits)  # libsndfile takes the upper bits
    _write(path, lambda target: _write_wav(soundfile, target, data, sample_rate, subtype))


def _write_wav(soundfile: Any, target: Path, data: Any, sample_rate: int, subtype: str) -> None:
    with soundfile.SoundFile(
        str(target), "w", samplerate=sample_rate, channels=data.shape[1], subtype=subtype, format="WAV"
    ) as sound:
        # libsndfile adds a PEAK chunk holding the time of writing to float files: it would make two renders differ.
        _disable_peak_chunk(soundfile, sound)
        sound.write(data)


def _disable_peak_chunk(soundfile: Any, sound: Any) -> None:
    """SFC_SET_ADD_PEAK_CHUNK (0x1050) off; see the libsndfile command reference."""
    soundfile._snd.sf_command(sound._file, 0x1050, soundfile._ffi.NULL, 0)


def _write(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    import soundfile

    try:
        with replacing(path) as temporary:
            write(temporary)
    except (soundfile.SoundFileError, RuntimeError) as error:
        free = shutil.disk_usage(Path(path).parent).free
        reason = "the disk is full" if free < 1_000_000 else str(error)
        raise UserError(f"cannot write {path}: {reason}. Choose another folder with out=FOLDER.") from error
