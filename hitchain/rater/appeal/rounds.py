"""Adversarial rounds: audio that was climbed against a member in training is fed back to it as what it is worth.

A climb is any function (rate, audio, seed) -> the audio after each of its steps, the untouched audio first. The climb
of the waveform is here; climbs through effects come from outside, since this room knows no blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hitchain.rater.appeal import faults
from hitchain.rater.appeal.corpus import RATE, Recording
from hitchain.rater.appeal.examples import Examples, draw_crop
from hitchain.rater.frontend import FrontEnd

Rate = Callable[[Tensor], Tensor]
"""Audio (batch, 2, samples) at the corpus rate -> ratings (batch,), differentiable."""
Climb = Callable[[Rate, Tensor, int], Iterator[Tensor]]

WAVEFORM_STEPS = 20
WAVEFORM_PACE = 0.003
"""How far each sample may move in a step, as a share of the audio's RMS level."""
RUINED_BY_DB = 10.0
"""A climbed chain that moved the spectrum by this mean distance is worth no more than a ruined recording."""


@dataclass(frozen=True)
class Starts:
    """Crops to climb from: audio (n, 2, samples), what each is worth, and how many came from which recording."""

    audio: Tensor
    targets: Tensor
    names: list[str]


def starts(
    recordings: list[Recording], split: str, count: int, folder: Path, random: np.random.Generator, degraded: float
) -> Starts:
    """Crops of a split's recordings, a share of them `degraded` at a random strength, the others untouched."""
    crops, targets, names = [], [], []
    for _ in range(count):
        recording, audio = draw_crop(recordings, split, folder, random)
        strength = float(random.random()) if random.random() < degraded else 0.0
        crops.append(faults.degrade(audio, RATE, strength, random)[0])
        targets.append(1.0 - strength)
        names.append(recording.name)
    return Starts(torch.from_numpy(np.stack(crops)), torch.tensor(targets), names)


def climb_waveform(
    rate: Rate, audio: Tensor, seed: int = 0, steps: int = WAVEFORM_STEPS, pace: float = WAVEFORM_PACE
) -> Iterator[Tensor]:
    """Every sample is free: Adam (Kingma and Ba 2015) upward on the waveform, each item on its own.

    Args:
        audio: (batch, 2, samples).
        seed: unused; nothing is drawn.
        pace: length of a sample's step, as a share of the item's RMS level.
    """
    level = audio.square().mean(dim=(1, 2), keepdim=True).sqrt()
    moved, mean, square = torch.zeros_like(audio), torch.zeros_like(audio), torch.zeros_like(audio)
    yield audio
    for step in range(1, steps + 1):
        climbed = (audio + moved).requires_grad_(True)
        (gradient,) = torch.autograd.grad(rate(climbed).sum(), climbed)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient.square()
        size = (square / (1 - 0.99**step)).sqrt()
        floor = 1e-3 * size.mean(dim=(1, 2), keepdim=True) + 1e-30
        moved = moved + pace * level * (mean / (1 - 0.9**step)) / (size + floor)
        yield audio + moved


def rated_by(network: nn.Module) -> Rate:
    """A network as a function of audio."""
    front_end = FrontEnd()
    return lambda audio: torch.as_tensor(network(front_end(audio, RATE)))


def noise_target(start: Tensor, climbed: Tensor, target: Tensor) -> Tensor:
    """What a climbed waveform is worth: what was added is noise, and counts as the fault of that strength.

    `faults.noise` of strength s lies 32 log10(s) dB under the recording; the strongest fault is what a crop suffers.
    """
    power = (climbed - start).square().mean(dim=(1, 2)) / start.square().mean(dim=(1, 2)).clamp_min(1e-12)
    strength = power.clamp_min(1e-12).pow(10.0 / 32.0).clamp_max(1.0)
    return torch.minimum(target, 1.0 - strength)


def change_target(start: Tensor, climbed: Tensor, target: Tensor) -> Tensor:
    """What a climbed chain is worth: an untouched recording only gets worse, by how far its spectrum moved.

    Args:
        start, climbed: log-mel frames of the two, (batch, 2, mel_bands, frames).
    """
    decibels = (climbed - start)[:, 0].abs().mean(dim=(1, 2)) * -FrontEnd().settings.floor_db
    return (target - (decibels / RUINED_BY_DB).clamp(0.1, 1.0)).clamp_min(0.0)


def feed_back(network: nn.Module, climb: Climb, begin: Starts, seed: int, chain: bool) -> Examples:
    """Each start, its climb half way and its climb at the end, with what they are worth, as examples.

    Args:
        network: climbed as it is now; left in the mode it was in.
        chain: what is climbed are effects, not the waveform.
    """
    training = network.training
    network.eval()
    path = list(climb(rated_by(network), begin.audio, seed))
    network.train(training)
    front_end = FrontEnd()
    with torch.no_grad():
        kept = [begin.audio, path[len(path) // 2], path[-1]]
        frames = [front_end(audio, RATE) for audio in kept]
        targets = [begin.targets]
        for audio, seen in zip(kept[1:], frames[1:], strict=True):
            if chain:
                targets.append(change_target(frames[0], seen, begin.targets))
            else:
                targets.append(noise_target(begin.audio, audio, begin.targets))
    return Examples(
        frames=torch.stack(frames, dim=1).flatten(0, 1).half().numpy(),
        targets=torch.stack(targets, dim=1).flatten().float().numpy(),
        recordings=[name for name in begin.names for _ in kept],
        groups=np.repeat(np.arange(len(begin.names)), len(kept)),
        chains=[["climbed"]] * (len(kept) * len(begin.names)),
    )
