"""A trained agent against random play, on seeds that no training ever sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hitchain.chain.objective.judge import Judge, ask
from hitchain.chain.reinforce.diversity import diversity
from hitchain.chain.reinforce.episode import Actions, Array
from hitchain.chain.reinforce.machine import Machine
from hitchain.chain.reinforce.play import Choose, Played, play, random_play
from hitchain.chain.reinforce.vector import UNSEEN

DRAWS = 10_000
LEVEL = 0.95
AGENT, RANDOM, NOTES_ONLY = "agent", "random", "random notes, knobs left"


@dataclass(frozen=True)
class Player:
    """How one player did: its episodes, and what each was worth by every judge, {judge: (seeds,)}."""

    played: Sequence[Played]
    worth: Mapping[str, NDArray[np.float64]]


def seeds(count: int, first: int = 0) -> list[int]:
    """Seeds that no training sees: at or over `UNSEEN`."""
    return [UNSEEN + first + index for index in range(count)]


def compare(
    machine: Machine, agent: Choose, count: int, judges: Mapping[str, Judge], first: int = 0
) -> dict[str, Player]:
    """Let the agent, random legal play, and random notes with the knobs left alone, all play the same tasks.

    Args:
        machine: of the agent's environment. Its critic neither rewards nor learns here.
        judges: raters besides the one that rewards, by name: such that the agent never heard.
    """
    machine.realness = None
    players = {AGENT: agent, RANDOM: random_play(first), NOTES_ONLY: _leaving(machine, random_play(first))}
    found = {}
    for name, choose in players.items():
        played = play(machine, seeds(count, first), choose)
        worth = {"rating": np.array([item.rating for item in played], dtype=np.float64)}
        audio = torch.stack([item.audio for item in played])
        for judge, rater in judges.items():
            with torch.no_grad():
                worth[judge] = ask(rater, audio, machine.song.sample_rate).cpu().double().numpy()
        found[name] = Player(played, worth)
    return found


def _leaving(machine: Machine, choose: Choose) -> Choose:
    """A player who turns no knob."""
    stay = Actions(machine.settings.pitches).stay

    def leave(observations: Array, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        chosen = choose(observations, masks)
        return np.where(masks[:, stay], stay, chosen)

    return leave


def difference(ours: NDArray[np.float64], theirs: NDArray[np.float64], seed: int = 0) -> dict[str, float]:
    """The mean of paired differences, with a percentile bootstrap interval over pairs (Efron and Tibshirani 1993)."""
    paired = ours - theirs
    random = np.random.default_rng([seed, len(paired)])
    means = paired[random.integers(len(paired), size=(DRAWS, len(paired)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": float(paired.mean()), "low": float(low), "high": float(high), "better": float((paired > 0).mean())}


def summary(players: Mapping[str, Player]) -> dict[str, Any]:
    """As plain data: for every judge each player's mean and the agent's margins, and everybody's diversity."""
    agent = players[AGENT]
    judges = {
        judge: {
            "means": {name: float(player.worth[judge].mean()) for name, player in players.items()},
            "margins": {
                name: difference(agent.worth[judge], player.worth[judge])
                for name, player in players.items()
                if name != AGENT
            },
        }
        for judge in agent.worth
    }
    spread = {name: diversity([item.episode for item in player.played]) for name, player in players.items()}
    return {"seeds": len(agent.played), "judges": judges, "diversity": spread}


def shown(result: Mapping[str, Any]) -> list[str]:
    """The summary as lines of a table."""
    lines = [f"{'judge':<18} {'agent':>7}  margin over ... on {result['seeds']} unseen seeds, {LEVEL:.0%} interval"]
    for judge, entry in result["judges"].items():
        margins = "; ".join(
            f"{name} {entry['means'][name]:.3f}: {margin['value']:+.3f} [{margin['low']:+.3f}, {margin['high']:+.3f}], "
            f"better on {margin['better']:.0%}"
            for name, margin in entry["margins"].items()
        )
        lines.append(f"{judge:<18} {entry['means'][AGENT]:7.3f}  {margins}")
    for name, entry in result["diversity"].items():
        lines.append(f"diversity of {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in entry.items()))
    return lines
