"""`hitchain produce`: train an agent, or let one play, and hold it against random play."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitchain.chain import config as configs
from hitchain.chain import run
from hitchain.chain.optimizers.settings import read_settings
from hitchain.chain.reinforce import needed
from hitchain.chain.reinforce.settings import ProductionSettings, TrainingSettings
from hitchain.errors import UserError
from hitchain.files import write_text, write_wav
from hitchain.progress import Progress

if TYPE_CHECKING:
    from hitchain.chain.reinforce.evaluate import Player
    from hitchain.chain.reinforce.machine import Machine
    from hitchain.chain.reinforce.train import Training
    from hitchain.rater.rater import Rater

Say = Callable[[str], None]
SOUNDS = 3
"""Episodes of each player whose sound is kept."""


def produce(config: Mapping[str, Any], say: Say = print) -> dict[str, Any]:
    """Train an agent at the production machine, or go on with a training, or only let an agent play (`agent`).

    Returns what stands in result.json.

    Raises:
        UserError: a value is out of range, a package of the extra is missing, or a file cannot be used.
    """
    needed()
    if config.get("resume"):
        folder = Path(str(config["resume"]))
        if not (folder / "config.yaml").is_file():
            raise UserError(f"resume={folder} is not a run folder: it has no config.yaml.")
        kept = configs.read(folder / "config.yaml")
        if kept.get("command") != "produce" or kept.get("agent"):
            raise UserError(f"resume={folder} is no training of `hitchain produce`.")
        if (folder / "result.json").is_file():
            raise UserError(f"resume={folder} has finished already; its result is in {folder / 'result.json'}.")
        return _train(folder, kept, say, begin=False)
    _seeds(config)  # before hours of training
    folder = Path(str(config["out"]))
    if config.get("agent"):
        return _play(folder, config, say)
    return _train(folder, config, say, begin=True)


def _train(folder: Path, config: Mapping[str, Any], say: Say, begin: bool) -> dict[str, Any]:
    from hitchain.chain.reinforce import agent, checkpoint
    from hitchain.chain.reinforce.machine import Machine
    from hitchain.chain.reinforce.train import Training

    own = read_settings(ProductionSettings, {**config["environment"], "seed": _seed(config)}, "environment")
    training_settings = read_settings(TrainingSettings, config["training"], "training")
    judges = _judges(config)
    machine = Machine(own, str(config["device"]))
    training = Training(
        machine, training_settings, _seed(config), str(folder) if training_settings.tensorboard else None
    )
    if begin:
        run.begin(folder, {"command": "produce", **config})
    elif checkpoint.restore(folder, training):
        say(f"going on after rollout {training.rollout} of {training_settings.rollouts}")
    _advance(folder, training)
    policy = training.model.policy
    policy.set_training_mode(False)
    about = {"rollouts": training.rollout, "episodes": training.rollout * training.episodes, "seed": _seed(config)}
    agent.save(folder / agent.NAME, policy, own, about)
    say(f"agent    {folder / agent.NAME}  ({about['episodes']} episodes in {training.seconds:.0f} s)")
    result = {
        **_compared(folder, config, machine, policy, judges, say),
        **about,
        "seconds": round(training.seconds, 3),
        "history": training.history[-1:],
    }
    run.write_result(folder, result)
    return result


def _advance(folder: Path, training: Training) -> None:
    """Train until the end, writing history and a checkpoint after every rollout."""
    from hitchain.chain.objective import RaterFailed
    from hitchain.chain.reinforce import checkpoint

    write_text(folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in training.history))
    with Progress(training.settings.rollouts, "produce", initial=training.rollout, unit="rollout") as progress:
        while not training.finished:
            try:
                row = training.advance()
            except RaterFailed as error:
                kept = f"The rollouts before are kept: resume={folder} goes on from them."
                raise UserError(f"{error} (rollout {training.rollout + 1}). {kept}") from error
            with (folder / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps(row) + "\n")
            checkpoint.save(folder, training)
            fields = {key: row[key] for key in ("rating", "realness", "entropy") if key in row}
            progress.update(training.rollout, **fields)


def _play(folder: Path, config: Mapping[str, Any], say: Say) -> dict[str, Any]:
    from hitchain.chain.reinforce import agent
    from hitchain.chain.reinforce.machine import Machine

    began = time.monotonic()
    policy, own = agent.load(str(config["agent"]))
    judges = _judges(config)
    machine = Machine(own, str(config["device"]))
    run.begin(folder, {"command": "produce", **config})
    result = {
        **_compared(folder, config, machine, policy, judges, say),
        "agent": str(config["agent"]),
        "seconds": round(time.monotonic() - began, 3),
    }
    run.write_result(folder, result)
    return result


def _compared(
    folder: Path, config: Mapping[str, Any], machine: Machine, policy: Any, judges: Mapping[str, Rater], say: Say
) -> dict[str, Any]:
    """Hold the agent against random play, and keep some of the sounds."""
    from hitchain.chain.reinforce.agent import choosing
    from hitchain.chain.reinforce.evaluate import compare, shown, summary

    choose = choosing(policy, _seed(config), bool(config["greedy"]))
    players = compare(machine, choose, _seeds(config), judges)
    result = summary(players)
    for line in shown(result):
        say(line)
    _write_sounds(folder, machine, players)
    say(f"sounds   {folder / 'sounds'}")
    return {"command": "produce", "seed": _seed(config), **result}


def _write_sounds(folder: Path, machine: Machine, players: Mapping[str, Player]) -> None:
    for name, player in players.items():
        for index, played in enumerate(player.played[:SOUNDS], start=1):
            file = folder / "sounds" / f"{index}-{name.replace(', ', '-').replace(' ', '-')}.wav"
            write_wav(file, played.audio.cpu(), machine.song.sample_rate)


def _judges(config: Mapping[str, Any]) -> dict[str, Rater]:
    from hitchain.rater.rater import load

    names = config["judges"]
    if not isinstance(names, list):
        raise UserError(f"judges={names!r} should be a list of raters, like [appeal/heldout].")
    return {str(name): load(str(name)).to(str(config["device"])) for name in names}


def _seed(config: Mapping[str, Any]) -> int:
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise UserError(f"seed={seed!r} should be a whole number from 0 to {2**31 - 1}.")
    return seed


def _seeds(config: Mapping[str, Any]) -> int:
    count = config["seeds"]
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= 100_000:
        raise UserError(f"seeds={count!r} should be a whole number from 2 to 100000.")
    return count
