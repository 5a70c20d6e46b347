"""SFZ: a text file that maps sound files over keys and velocities (sfzformat.com, the opcodes of version 1 that play).

Opcodes that are not named here are ignored, as players do. Nothing outside the folder of the file is read: paths that
leave it, `#include` and `#define` are refused. A region that sounds on release, or as one of several in turn or at
random, is left out unless it is the first of them.
"""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath

from hitchain.blocks.samples.folder import SUFFIXES, note
from hitchain.blocks.samples.zone import LARGEST, Recording, Zone, checked_loop, read, seconds
from hitchain.errors import UserError

LARGEST_TEXT = 4 << 20
MOST_REGIONS = 4096

_TOKEN = re.compile(r"<(\w+)>|([A-Za-z_]\w*)=")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
Opcodes = dict[str, str]
_OTHER_NAMES = {"loopmode": "loop_mode", "loopstart": "loop_start", "loopend": "loop_end"}
_SCOPES = ("global", "master", "group", "region")


def read_sfz(path: Path) -> list[Zone]:
    """The regions of an SFZ file. Raises `UserError` where it is malformed or reaches outside its folder."""
    recordings: dict[Path, Recording] = {}
    zones = []
    for region in regions(_text(path), path):
        if region.get("trigger", "attack") != "attack" or _number(region, "seq_position", 1, path) != 1:
            continue
        if _number(region, "lorand", 0, path) > 0:
            continue
        sample = _sample(region, path)
        if sample not in recordings:
            recordings[sample] = read(sample)
            if sum(recording.audio.numel() for recording in recordings.values()) > LARGEST:
                raise UserError(f"the sound files of {path} hold more than {LARGEST // 2**20} million samples.")
        zones.append(_zone(region, recordings[sample], path))
    if not zones:
        raise UserError(f"{path} holds no <region> that plays a sample when a key is struck.")
    return zones


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST_TEXT:
        raise UserError(f"{path} is larger than {LARGEST_TEXT >> 20} MiB: not an SFZ file.")
    try:
        text = _COMMENT.sub(" ", path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path} as an SFZ text file: {error}") from error
    directive = re.search(r"^\s*#\w+", text, re.MULTILINE)
    if directive:
        raise UserError(f"{path} uses {directive.group().strip()}, which is not read: put everything into one file.")
    return text


def regions(text: str, path: Path) -> list[Opcodes]:
    """The opcodes of each region, with those of its group, master and global, and the control's default path."""
    scopes: dict[str, Opcodes] = {scope: {} for scope in ("control", *_SCOPES)}
    found: list[Opcodes] = []
    current: Opcodes = {}
    tokens = list(_TOKEN.finditer(text))
    ends = [token.start() for token in tokens[1:]] + [len(text)]
    for token, end in zip(tokens, ends, strict=False):  # one end too many where there is no token
        header, opcode = token.groups()
        if header in scopes:
            current = scopes[header] = {}
            for inner in _SCOPES[_SCOPES.index(header) + 1 :] if header in _SCOPES else ():
                scopes[inner] = {}
            if header == "region":
                current.update({**scopes["control"], **scopes["global"], **scopes["master"], **scopes["group"]})
                found.append(current)
            if len(found) > MOST_REGIONS:
                raise UserError(f"{path} holds more than {MOST_REGIONS} regions.")
        elif header:
            current = {}  # <curve>, <effect>, ...: nothing of theirs is played
        else:
            value = text[token.end() : end].strip().split("\n")[0].strip()
            current[_OTHER_NAMES.get(opcode.lower(), opcode.lower())] = value
    return found


def _sample(region: Opcodes, path: Path) -> Path:
    name = region.get("sample", "")
    if not name or name.startswith("*"):
        raise UserError(f"{path}: sample={name or '(none)'} is no sound file; generators are not played.")
    relative = PurePosixPath((region.get("default_path", "") + name).replace("\\", "/"))
    root = path.resolve().parent
    sample = (root / relative).resolve()
    if relative.is_absolute() or ":" in str(relative) or not sample.is_relative_to(root):
        raise UserError(f"{path}: sample={name} lies outside the file's own folder and is not read.")
    if sample.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: sample={name} is not one of {', '.join(SUFFIXES)}.")
    return sample


def _zone(region: Opcodes, recording: Recording, path: Path) -> Zone:
    key = _key(region, "key", None, path)
    low, high = _key(region, "lokey", key, path), _key(region, "hikey", key, path)
    centre = _key(region, "pitch_keycenter", key, path)
    root = centre if centre is not None else recording.root if recording.root is not None else 60.0
    tuned = _number(region, "transpose", 0.0, path) + _number(region, "tune", 0.0, path) / 100.0
    mode = region.get("loop_mode", "loop_continuous" if recording.loop else "no_loop")
    samples = recording.audio.shape[-1]
    end = int(_number(region, "end", samples - 1, path)) + 1
    if not 2 <= end <= samples:
        end = samples
    begin, stop = recording.loop or (0, end)
    begin = int(_number(region, "loop_start", begin, path))
    stop = int(_number(region, "loop_end", stop - 1, path)) + 1
    offset = min(max(int(_number(region, "offset", 0, path)), 0), end - 1)
    return Zone(
        recording.audio[:, :end],
        recording.rate,
        root - tuned,
        keys=(0.0 if low is None else low, 127.0 if high is None else high),
        velocities=(_number(region, "lovel", 0, path), _number(region, "hivel", 127, path)),
        loop=checked_loop((begin, stop), end) if mode in ("loop_continuous", "loop_sustain") else None,
        while_held=mode == "loop_sustain",
        once=mode == "one_shot",
        tracking=_number(region, "pitch_keytrack", 100.0, path) / 100.0,
        gain=10.0 ** (min(max(_number(region, "volume", 0.0, path), -144.0), 24.0) / 20.0),
        pan=min(max(_number(region, "pan", 0.0, path) / 100.0, -1.0), 1.0),
        offset=offset,
        attack=seconds(_number(region, "ampeg_attack", 0.0, path)),
        decay=max(seconds(_number(region, "ampeg_decay", 0.0, path)), 0.001),
        sustain=min(max(_number(region, "ampeg_sustain", 100.0, path) / 100.0, 0.0), 1.0),
        release=seconds(_number(region, "ampeg_release", 0.0, path)),
    )


def _number(region: Opcodes, opcode: str, default: float, path: Path) -> float:
    if opcode not in region:
        return float(default)
    try:
        value = float(region[opcode])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e12:
        raise UserError(f"{path}: {opcode}={region[opcode]} should be a number.")
    return value


def _key(region: Opcodes, opcode: str, default: float | None, path: Path) -> float | None:
    """A key as a number or a name; -1 is none."""
    if opcode not in region:
        return default
    text = region[opcode]
    named = re.fullmatch(r"[A-Ga-g][#b]?-?\d", text)
    key = note(text) if named else _number(region, opcode, 0.0, path)
    if key is None or not -1.0 <= key <= 127.0:
        raise UserError(f"{path}: {opcode}={text} should be a key from 0 to 127 or a name like c4.")
    return key
