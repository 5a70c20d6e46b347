"""What the command line calls: `rate` on a plain configuration mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError, nearest

RATE_KEYS = ("rater", "heldout", "window_seconds", "device")


def rate(files: Sequence[str | Path], config: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rate audio files: `hitchain rate FILE...`.

    Args:
        files: WAV, FLAC, OGG or MP3 files of one second and more.
        config: `rater` (default "appeal"; see `hitchain.rater.load`), `heldout` (whether a shipped rater's held-out
            member speaks too; default True) and `window_seconds` (default 10; long files are rated window by window
            and averaged by length), `device` (default "cpu").

    Returns:
        A row per file: `path`, `seconds`, `rating` (the rater's), `members` (name -> rating), `heldout` (where asked
        for and present), and `popularity` (only for a rater trained on popularity).

    Raises:
        UserError: no file is given, one cannot be read or is too short, or a key is unknown.
    """
    from hitchain.devices import usable_device
    from hitchain.rater.rater import SHIPPED, load

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
    heldout = load(f"{name}/heldout").to(device) if name in SHIPPED and config.get("heldout", True) else None
    return [_rate_file(path, rater, heldout, float(window)) for path in files]


def _rate_file(path: str | Path, rater: Any, heldout: Any, window_seconds: float) -> dict[str, Any]:
    from hitchain.files import read_audio

    audio, sample_rate = read_audio(path)
    audio = audio.unsqueeze(0).to(next(rater.parameters()).device)
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
    if heldout is not None:
        row["heldout"] = float(heldout.rate(audio, sample_rate, window_seconds).mean())
    if all("target_mean" in about for about in rater.about):
        row["popularity"] = float(rater.to_popularity(ratings.mean()))
    return row


def rate_words(words: Sequence[str]) -> None:
    """`hitchain rate FILE ... key=value ...`: print a line for each file."""
    import yaml

    files = [word for word in words if "=" not in word or Path(word).exists()]
    pairs = (word.split("=", 1) for word in words if word not in files)
    for row in rate(files, {key: yaml.safe_load(value) for key, value in pairs}):
        others = {**row["members"], "held out": row["heldout"]} if "heldout" in row else row["members"]
        if "popularity" in row:
            others["popularity"] = row["popularity"]
        told = "  ".join(f"{name} {value:.3f}" for name, value in others.items())
        print(f"{row['rating']:.3f}  {row['path']}  ({told})")
