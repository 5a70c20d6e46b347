"""What `hitchain train-instrument` and `hitchain resynth` do, given a checked config."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hitchain.blocks.ddsp import decoder as decoders
from hitchain.blocks.ddsp import training
from hitchain.blocks.ddsp.resynthesis import RATE, Transfer, resynthesise
from hitchain.chain import config as configs
from hitchain.chain import run
from hitchain.errors import UserError
from hitchain.files import read_audio, write_text, write_wav

Say = Callable[[str], None]
LONGEST = 1800.0
"""[s] The longest recording that is played again."""


def train_instrument(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Train a decoder on recordings. Returns what stands in result.json."""
    if not config.get("audio"):
        raise UserError("training an instrument needs recordings: give audio=FOLDER.")
    folder = Path(config["out"])
    settings = {key: value for key, value in config.items() if key not in ("audio", "out")}
    chosen = training.InstrumentSettings.from_mapping(settings)
    kept = folder / "config.yaml"
    if kept.exists() and configs.read(kept).get("command") != "train-instrument":
        raise UserError(f"out={folder} already holds a run of another command; choose another folder with out=FOLDER.")
    if training.finished(folder) is not None:
        raise UserError(f"out={folder} holds a finished run; choose another folder with out=FOLDER.")
    write_text(kept, configs.dump({"command": "train-instrument", **config}))
    result = training.train(str(config["audio"]), folder, chosen)
    run.write_result(folder, {"command": "train-instrument", "seed": chosen.seed, **result})
    say(f"held out {result['untrained_loss']:.3f} -> {result['heldout_loss']:.3f}   (multi-resolution STFT loss)")
    say(f"instrument {folder / training.WEIGHTS}")
    say(f"           play it: hitchain render instrument=ddsp instrument.instrument={folder} notes.file=tune.mid")
    return result


def resynth(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Play a recording on a learnt instrument. Returns what stands in result.json."""
    began = time.monotonic()
    if not config.get("input"):
        raise UserError("resynth needs a recording: give input=voice.wav.")
    decoder = decoders.load(decoders.find(str(config["instrument"])))
    audio, _ = read_audio(str(config["input"]), RATE)
    if not 0.1 <= audio.shape[-1] / RATE <= LONGEST:
        raise UserError(f"{config['input']} should last 0.1 to {LONGEST:g} s.")
    folder = Path(config["out"])
    run.begin(folder, {"command": "resynth", **config})
    played, told = resynthesise(decoder, audio.mean(dim=0), _transfer(config))
    write_wav(folder / "resynth.wav", played[None], RATE)
    result = {
        "command": "resynth",
        "input": str(config["input"]),
        "instrument": decoder.about.name,
        "seed": config["seed"],
        "seconds": round(time.monotonic() - began, 3),
        **told,
    }
    run.write_result(folder, result)
    share = 100.0 * told["pitched_share"]
    say(f"moved by {told['transposed']:g} semitones and {told['raised']:.1f} dB; {share:.0f} % of it has a pitch")
    say(f"audio    {folder / 'resynth.wav'}")
    return result


def _transfer(config: Mapping[str, Any]) -> Transfer:
    transpose = config["transpose"]
    if transpose is None:
        moved = None
    elif isinstance(transpose, bool) or not isinstance(transpose, int | float) or not -60 <= transpose <= 60:
        raise UserError(
            f"transpose={transpose!r} should be semitones from -60 to 60, or null for whole octaves that fit."
        )
    else:
        moved = float(transpose)
    for key, most in (("loudness", 40.0), ("brightness", 12.0), ("noise_level", 40.0)):
        if not -most <= config[key] <= most:
            raise UserError(f"{key}={config[key]} should be from {-most:g} to {most:g}.")
    seed = config["seed"]
    if not 0 <= seed < 2**31:
        raise UserError(f"seed={seed} should be a whole number from 0 to {2**31 - 1}.")
    return Transfer(
        moved, config["loudness"], config["match_loudness"], config["brightness"], config["noise_level"], seed
    )
