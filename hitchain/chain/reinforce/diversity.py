"""How different from each other the episodes of an agent are: what goes to 0 when it collapses to one sound."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hitchain.chain.reinforce.episode import Episode


def diversity(episodes: Sequence[Episode]) -> dict[str, float]:
    """Measures over finished episodes, two or more.

    Returns:
        `melody`: share of slots in which two melodies differ, each taken from its own key note, the mean over pairs;
        `melodies`: share of melodies that are unlike all others; `knobs`: standard deviation of the knobs' last
        positions, the mean over knobs; `sound`: root mean square distance of two sounds' band levels [dB of 70].
    """
    melodies = np.array([_from_key(episode) for episode in episodes])
    positions = np.array([episode.positions for episode in episodes])
    bands = np.array([episode.bands for episode in episodes])
    pairs = np.triu_indices(len(episodes), 1)
    differ = (melodies[pairs[0]] != melodies[pairs[1]]).mean()
    apart = np.sqrt(np.square(bands[pairs[0]] - bands[pairs[1]]).mean(axis=-1)).mean()
    return {
        "melody": float(differ),
        "melodies": len(np.unique(melodies, axis=0)) / len(episodes),
        "knobs": float(positions.std(axis=0).mean()),
        "sound": float(apart),
    }


def _from_key(episode: Episode) -> list[int]:
    """What stands in every slot, struck notes as semitones over the lowest key note."""
    return [entry if entry < 0 else entry - episode.task.key for entry in episode.written]
