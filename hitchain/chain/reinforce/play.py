"""Playing episodes side by side: every hearing is one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hitchain.chain.reinforce.episode import Array, Episode, Task
from hitchain.chain.reinforce.machine import Heard, Machine

Choose = Callable[[Array, NDArray[np.bool_]], NDArray[np.int64]]
"""Observations (episodes, size) and masks (episodes, actions) to actions (episodes,)."""


def hear_all(machine: Machine, episodes: Sequence[Episode]) -> tuple[list[float], list[dict[str, Any]], Heard]:
    """Hear episodes that are at one step: the reward of each, what its `info` says, and the sound."""
    heard = machine.hear(episodes)
    ratings = heard.rating.tolist()
    rewards = [new - (episode.rating or 0.0) for new, episode in zip(ratings, episodes, strict=True)]
    infos: list[dict[str, Any]] = [{"rating": rating} for rating in ratings]
    for episode, rating, bands in zip(episodes, ratings, heard.bands, strict=True):
        episode.rating, episode.bands = rating, bands
    if machine.realness is not None and episodes[0].finished:
        real = machine.realness(heard.audio, machine.song.sample_rate).tolist()
        machine.realness.take(heard.audio, machine.song.sample_rate)
        rewards = [reward + machine.settings.realness * term for reward, term in zip(rewards, real, strict=True)]
        infos = [{**info, "realness": term} for info, term in zip(infos, real, strict=True)]
    return rewards, infos, heard


@dataclass(frozen=True)
class Played:
    """A finished episode.

    Attributes:
        episode: as it ended.
        reward: of all its steps.
        rating: of the final sound.
        audio: (2, samples).
    """

    episode: Episode
    reward: float
    rating: float
    audio: Tensor


def play(machine: Machine, seeds: Sequence[int], choose: Choose, together: int = 16) -> list[Played]:
    """Play the episode of every seed, `together` at a time."""
    played: list[Played] = []
    for first in range(0, len(seeds), together):
        played += _play(machine, seeds[first : first + together], choose)
    return played


def _play(machine: Machine, seeds: Sequence[int], choose: Choose) -> list[Played]:
    count = len(machine.settings.knobs)
    episodes = [Episode(Task.draw(np.random.default_rng(seed), count), machine.settings) for seed in seeds]
    rewards, heard = np.zeros(len(seeds)), None
    while not episodes[0].finished:
        masks = np.stack([episode.masks() for episode in episodes])
        actions = choose(np.stack([episode.observation() for episode in episodes]), masks)
        for episode, action in zip(episodes, actions, strict=True):
            episode.act(int(action))
        if episodes[0].audible:
            paid, _, heard = hear_all(machine, episodes)
            rewards += paid
    if heard is None:
        raise ValueError("an episode ends with a hearing")
    return [
        Played(episode, float(reward), float(rating), audio)
        for episode, reward, rating, audio in zip(episodes, rewards, heard.rating, heard.audio, strict=True)
    ]


def random_play(seed: int) -> Choose:
    """Legal actions, each as likely as another."""
    random = np.random.default_rng(seed)

    def choose(observations: Array, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.array([random.choice(np.flatnonzero(legal)) for legal in masks], dtype=np.int64)

    return choose
