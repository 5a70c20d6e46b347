"""What the command line calls: `rate` on a plain configuration mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest

RATE_KEYS = ("rater", "heldout", "window_seconds", "level", "device")


def rate(files: Sequence[str | Path], config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rate audio files: `hitchain rate FILE...`.

    Args:
        files: WAV, FLAC, OGG or MP3 files of one second and more.
        config: `rater` (default "appeal"; see `hitchain.rater.load`), `heldout` (whether a shipped rater's judges,
            which are never climbed, speak too; default True), `window_seconds` (default 10; long files are rated
            window by window and averaged by length), `level` (default 0.9; the share of recordings whose true rating
            lies in the interval) and `device` (default "cpu").

    Returns:
        A row per file: `path`, `seconds`, `rating` (the rater's), `members` (name -> rating), `heldout` and `trees`
        (the judges, where asked for and present), `interval` ([low, high], where the rater was calibrated),
        `popularity` and `popularity_interval` (only for a rater trained on popularity).

    Raises:
        UserError: no file is given, one cannot be read or is too short, or a key is unknown.
    """
    from hitchain.devices import usable_device
    from hitchain.rater.rater import SHIPPED, judges, load

    config = dict(config or {})
    for key in config:
        if key not in RATE_KEYS:
            raise UserError(f"unknown rating setting {key!r}; {nearest(str(key), RATE_KEYS)}")
    if not files:
        raise UserError("no audio file given; use: hitchain rate FILE...")
    name = str(config.get("rater") or "appeal")
    window = config.get("window_seconds", 10.0)
    if isinstance(window, bool) or not isinstance(window, int | float) or not 2.0 <= window <= 600.0:
        raise UserError(f"window_seconds is {window!r}; it must be a number from 2 to 600.")
    device = usable_device(str(config.get("device") or "cpu"))
    rater = load(name).to(device)
    level = config.get("level", 0.9)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise UserError(f"level is {level!r}; it must be a share between 0 and 1, like 0.9.")
    asked = judges(name) if name in SHIPPED and config.get("heldout", True) else []
    judging = {judge.partition("/")[2]: load(judge).to(device) for judge in asked}
    return [_rate_file(path, rater, judging, float(window), float(level)) for path in files]


def _rate_file(
    path: str | Path, rater: Any, judging: Mapping[str, Any], window_seconds: float, level: float
) -> dict[str, Any]:
    from hitchain.files import read_audio

    audio, sample_rate = read_audio(path)
    audio = audio.unsqueeze(0).to(rater.device)
    try:
        ratings = rater.rate(audio, sample_rate, window_seconds)[0]
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    row: dict[str, Any] = {
        "path": str(path),
        "seconds": audio.shape[-1] / sample_rate,
        "rating": float(ratings.mean()),
        "members": {name: float(rating) for name, rating in zip(rater.names, ratings, strict=True)},
    }
    for name, judge in judging.items():
        row[name] = float(judge.rate(audio, sample_rate, window_seconds).mean())
    ends = [] if rater.calibration is None else rater.interval_of(ratings[None], level)
    if ends:
        row["interval"] = [float(end) for end in ends]
    if all("target_mean" in about for about in rater.about):
        row["popularity"] = float(rater.to_popularity(ratings.mean()))
        if ends:
            row["popularity_interval"] = [float(rater.to_popularity(end)) for end in ends]
    return row


def rate_words(words: Sequence[str]) -> None:
    """`hitchain rate FILE ... key=value ...`: print a line for each file."""
    import yaml

    files = [word for word in words if "=" not in word or Path(word).exists()]
    pairs = (word.split("=", 1) for word in words if word not in files)
    for row in rate(files, {key: yaml.safe_load(value) for key, value in pairs}):
        others = dict(row["members"])
        for key, name in (("heldout", "held out"), ("trees", "trees"), ("popularity", "popularity")):
            if key in row:
                others[name] = row[key]
        told = [f"{name} {value:.3f}" for name, value in others.items()]
        if "popularity_interval" in row:
            told[-1] += " [{:.3f}, {:.3f}]".format(*row["popularity_interval"])
        ends = " [{:.3f}, {:.3f}]".format(*row["interval"]) if "interval" in row else ""
        print(f"{row['rating']:.3f}{ends}  {row['path']}  ({'  '.join(told)})")
