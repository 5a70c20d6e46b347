"""`hitchain meter FILE ...`: what the meters of a mastering desk read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hitchain.errors import UserError, nearest
from hitchain.files import read_audio, write_json

READINGS = (
    ("integrated", "integrated loudness", "LUFS"),
    ("short_term", "short-term loudness, highest", "LUFS"),
    ("momentary", "momentary loudness, highest", "LUFS"),
    ("loudness_range", "loudness range", "LU"),
    ("true_peak", "true peak", "dBTP"),
    ("sample_peak", "sample peak", "dBFS"),
    ("peak_to_loudness", "peak to loudness ratio", "LU"),
    ("peak_to_short_term", "peak to short-term loudness", "LU"),
    ("correlation", "correlation of left and right", ""),
    ("balance", "left against right", "dB"),
    ("side", "side against mid", "dB"),
    ("offset", "offset, of full scale", ""),
    ("clipped", "clipped samples", ""),
)
"""Key, label and unit of each meter, in the order of a page."""
_LONGEST_BAR = 40
_BAR_RANGE = 60.0


def meter(words: Sequence[str]) -> None:
    """Print the meters of each file; with `json=FILE` write them as well.

    Raises:
        UserError: no file, one that cannot be read, or an unknown key.
    """
    files = [word for word in words if not word.startswith("json=")]
    target = next((word.partition("=")[2] for word in words if word.startswith("json=")), None)
    for word in files:
        key, equals, _ = word.partition("=")
        if equals and key.isidentifier():
            raise UserError(f"'{word}': meter has no key '{key}'; {nearest(key, ['json'])}")
    if not files:
        raise UserError("give at least one sound file: hitchain meter song.wav")
    readings = {file: read_meters(file) for file in files}
    for file, reading in readings.items():
        print(_shown(file, reading))
    if target:
        write_json(target, readings)


def read_meters(file: str) -> dict[str, Any]:
    """The readings of one sound file (see `hitchain.blocks.dsp.meter.Meters`)."""
    from hitchain.blocks.dsp.meter import measure

    audio, rate = read_audio(file)
    return {"sample_rate": rate, "channels": audio.shape[0], **measure(audio, rate).as_dict()}


def _shown(file: str, reading: dict[str, Any]) -> str:
    minutes, seconds = divmod(reading["seconds"], 60.0)
    lines = [f"{file}  {int(minutes)}:{seconds:05.2f}, {reading['sample_rate']} Hz, {reading['channels']} channel(s)"]
    for key, label, unit in READINGS:
        lines.append(f"  {label:32}{_number(reading[key])} {unit}".rstrip())
    lines.append("  spectrum, third octaves against the whole")
    for centre, level in reading["bands"].items():
        bar = "#" * round(max(0.0, 1.0 + level / _BAR_RANGE) * _LONGEST_BAR)
        lines.append(f"  {centre:>7} Hz {level:7.1f} dB  {bar}".rstrip())
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:8d}" if isinstance(value, int) else f"{value:8.2f}"
