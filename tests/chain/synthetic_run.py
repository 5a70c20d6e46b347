"""A run folder made without a climb: the files and shapes of a real one, with sounds that differ by stage."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from hitchain.files import write_json, write_wav

STAGES = ("0-instrument", "1-effects", "2-amp", "3-cab", "4-mic", "5-fader")


def make_run(
    folder: Path,
    seconds: float = 2.0,
    tracks: tuple[str, ...] = ("bass", "lead"),
    steps: int = 40,
    knobs: int = 30,
    sample_rate: int = 44100,
) -> Path:
    """Write a run of `optimize` and return its folder."""
    for index, track in enumerate(tracks):
        for number, stage in enumerate(STAGES):
            channels = 2 if stage.endswith("fader") else 1
            sound = _sound(110.0 * (index + 1), 0.1 + 0.1 * number, seconds, sample_rate, channels)
            write_wav(folder / "stems" / track / f"{stage}.wav", sound, sample_rate)
    write_wav(folder / "before.wav", _sound(220.0, 0.1, seconds, sample_rate, 2), sample_rate)
    write_wav(folder / "mix.wav", _sound(220.0, 0.4, seconds, sample_rate, 2), sample_rate)
    write_wav(folder / "master.wav", _sound(220.0, 0.8, seconds, sample_rate, 2), sample_rate)
    (folder / "config.yaml").write_text("command: optimize\nseed: 3\n# <b>not bold</b>\n", encoding="utf-8")
    write_json(folder / "patch.json", {"version": 1})
    write_json(folder / "result.json", _result(steps, knobs, sample_rate))
    with (folder / "history.jsonl").open("w", encoding="utf-8") as history:
        for step in range(1, steps + 1):
            history.write(json.dumps(_row(step, steps)) + "\n")
    return folder


def _sound(pitch: float, gain: float, seconds: float, sample_rate: int, channels: int) -> torch.Tensor:
    time = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    beat = torch.exp(-4.0 * (time % 0.5))
    voices = [
        torch.sin(2 * math.pi * pitch * k * (1 + 0.003 * c) * time) / k for c in range(channels) for k in (1, 2, 3, 5)
    ]
    noise = torch.randn(time.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.05
    sides = [gain * beat * (sum(voices[4 * c : 4 * c + 4]) / 2 + noise) for c in range(channels)]
    return torch.stack(sides).float()


def _result(steps: int, knobs: int, sample_rate: int) -> dict[str, object]:
    rows: list[dict[str, object]] = [
        {
            "path": f"lead.effects.{index}.gain_{index}",
            "unit": "dB",
            "before": -6.0 + index,
            "after": -3.5 + 0.5 * index,
            "before_text": f"{-6.0 + index:g} dB",
            "after_text": f"{-3.5 + 0.5 * index:g} dB",
            "moved": 0.9 / (index + 1),
        }
        for index in range(knobs)
    ]
    rows.append({"path": "lead.mic.type", "unit": "", "before": None, "after": None, "before_text": "dynamic",
                 "after_text": "<script>alert(1)</script>", "moved": 0.31})  # fmt: skip
    return {
        "command": "optimize",
        "song": "A <i>song</i> & more",
        "seed": 3,
        "seconds": 73.2,
        "rating_before": 0.312,
        "rating_after": 0.547,
        "heldout_before": 0.298,
        "heldout_after": 0.441,
        "steps": steps,
        "stopped": "plateau",
        "learned": knobs + 1,
        "loudness": -13.98,
        "true_peak": -1.02,
        "sample_rate": sample_rate,
        "knobs": rows,
        "environment": {"hitchain": "0.1.0", "python": "3.11.7", "torch": "2.11.0", "platform": "Linux", "cpus": 2},
        "warnings": ["a knob ended at the end of its range: lead.effects.0.gain_0"],
    }


def _row(step: int, steps: int) -> dict[str, object]:
    rise = 1.0 - math.exp(-3.0 * step / steps)
    ratings = [0.31 + 0.2 * rise + 0.03 * math.sin(2.1 * step + 1.7 * index) for index in range(4)]
    row: dict[str, object] = {
        "step": step,
        "seconds": 1.8 * step,
        "rating": sum(ratings) / len(ratings),
        "ratings": ratings,
        "objective": 0.3 + 0.1 * rise,
        "terms": {"neutral": -0.02 * rise},
    }
    if step % 5 == 0:
        row |= {"heldout": 0.3 + 0.14 * rise, "looked": {"best": 0.32 + 0.23 * rise, "ratings": ratings}}
    return row
