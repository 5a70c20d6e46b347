"""Fitting one member: regression of the target, ranking within each recording, and what makes it hard to fool."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from hitchain.rater import networks
from hitchain.rater.appeal.examples import Examples
from hitchain.rater.frontend import FrontEndSettings

GROUPS_PER_BATCH = 12
WORST_PER_BATCH = 5
RANKING_SCALE = 0.15
LONGEST_STRETCH = 1.25
CLIMBED_PER_BATCH = 8
PENALISED_PER_BATCH = 24
PENALTY_EVERY = 2  # steps: it changes slowly, and costs as much as a step

FeedBack = Callable[[nn.Module, int], Examples]
"""(the network as it is now, the number of the round) -> what was climbed against it, and what that is worth."""


@dataclass(frozen=True)
class Recipe:
    """What makes a member hard to fool, ingredient by ingredient.

    Attributes:
        averaging: keep the exponential average of the weights (Polyak and Juditsky 1992), not the last ones.
        gradient_penalty: weight of the mean squared norm of the rating's gradient with respect to the log-mel frames
            (Drucker and LeCun 1992; Ross and Doshi-Velez, AAAI 2018): the rating then changes slowly with its input.
        waveform_rounds, chain_rounds: how often in training the network is climbed, through the waveform and through
            effects, and what came of it is fed back as what it is worth (after Madry et al., ICLR 2018).
    """

    averaging: bool = True
    gradient_penalty: float = 0.0
    waveform_rounds: int = 0
    chain_rounds: int = 0


def fit(
    architecture: str,
    examples: Examples,
    steps: int,
    seed: int,
    learning_rate: float = 2e-3,
    recipe: Recipe | None = None,
    rounds: Sequence[tuple[int, FeedBack]] = (),
    start: nn.Module | None = None,
) -> nn.Module:
    """A network of the given architecture fitted to the examples, in evaluation mode.

    Args:
        steps: batches of `GROUPS_PER_BATCH` groups, two by two from the same recording, and a few worst cases.
        seed: decides the initial weights, the batches and the augmentation.
        recipe: what makes it hard to fool; the rounds it asks for are in `rounds`.
        rounds: how many rounds, and what is climbed in each; rounds of a kind lie evenly over the training.
        start: a network of the architecture to go on from; None begins with random weights.
    """
    recipe = recipe or Recipe()
    torch.manual_seed(seed)
    network = networks.create(architecture, FrontEndSettings().mel_bands)
    if start is not None:
        network.load_state_dict(start.state_dict())
    averaged = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / 100) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps))),
    )
    batches = _Batches(examples, seed)
    due = _due(rounds, steps)
    progress = tqdm(range(steps), desc=f"fitting {architecture}", disable=None)
    for step in progress:
        for number, feed_back in due.get(step, ()):
            batches.add(feed_back(averaged if recipe.averaging else network, number))
        frames, targets, recordings = batches.draw()
        mixed = step % 4 == 3
        if mixed:
            frames, targets = _mixup(frames, targets)
        ratings = network(frames)
        loss = 4.0 * nn.functional.mse_loss(ratings, targets)
        if not mixed:
            loss = loss + ranking_loss(ratings, targets, recordings)
        if recipe.gradient_penalty > 0.0 and step % PENALTY_EVERY == 0:
            loss = loss + PENALTY_EVERY * recipe.gradient_penalty * gradient_penalty(network, frames)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        _move_towards(averaged, network, max(0.005, 1.0 / (step + 1)))
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    return averaged.eval() if recipe.averaging else network.requires_grad_(False).eval()


def _due(rounds: Sequence[tuple[int, FeedBack]], steps: int) -> dict[int, list[tuple[int, FeedBack]]]:
    """What is fed back before which step: the k-th of n rounds when k / (n + 1) of the steps are taken."""
    due: dict[int, list[tuple[int, FeedBack]]] = {}
    for count, feed_back in rounds:
        for number in range(count):
            due.setdefault(steps * (number + 1) // (count + 1), []).append((number, feed_back))
    return due


def gradient_penalty(network: nn.Module, frames: Tensor, count: int = PENALISED_PER_BATCH) -> Tensor:
    """The mean squared norm of the ratings' gradient with respect to `count` of the frames, spread over the batch."""
    chosen = frames[:: max(1, len(frames) // count)].detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(chosen).sum(), chosen, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


@torch.no_grad()
def _move_towards(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Exponential weight averaging: every value goes the given share of the way to the network's."""
    for average, current in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if average.is_floating_point():
            average.lerp_(current, share)
        else:
            average.copy_(current)


def ranking_loss(ratings: Tensor, targets: Tensor, recordings: Tensor) -> Tensor:
    """Logistic loss on pairs of one recording (or any recording and a worst case) whose targets differ by over 0.08.

    softplus(-(difference - half the wanted difference) / scale): pairs further apart must be rated further apart.
    Recording -1 is a worst case: it pairs with everything.
    """
    wanted = targets[:, None] - targets[None, :]
    comparable = (recordings[:, None] == recordings[None, :]) | (recordings[None, :] < 0)
    weight = (wanted > 0.08).float() * comparable.float() * wanted.clamp_min(0.0)
    difference = ratings[:, None] - ratings[None, :]
    loss = nn.functional.softplus(-(difference - 0.5 * wanted) / RANKING_SCALE)
    return (loss * weight).sum() / weight.sum().clamp_min(1e-6)


class _Batches:
    """Augmented batches: worst cases, pairs of groups of a recording, and what was climbed, as it is."""

    def __init__(self, examples: Examples, seed: int) -> None:
        self.random = np.random.default_rng([seed, 7])
        self.frames = examples.frames
        self.targets = examples.targets
        names = {name: number for number, name in enumerate(sorted(set(examples.recordings)))}
        self.recordings = np.array([names[name] for name in examples.recordings])
        self.recordings[examples.groups < 0] = -1
        self.worst = np.flatnonzero(examples.groups < 0)
        self.groups = _rows_by(examples.groups)
        self.by_recording = _rows_by(np.array([self.recordings[rows[0]] for rows in self.groups]))
        self.climbed: list[tuple[Tensor, NDArray[np.float32]]] = []

    def add(self, climbed: Examples) -> None:
        """Take in groups of climbed crops: `CLIMBED_PER_BATCH` of them go into every batch from now on."""
        for rows in _rows_by(climbed.groups):
            self.climbed.append((torch.from_numpy(np.asarray(climbed.frames[rows], np.float32)), climbed.targets[rows]))

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Frames, targets and recordings of a batch."""
        weights = np.array([len(groups) for groups in self.by_recording], np.float64) ** 0.75
        weights /= weights.sum()
        rows = [self.random.choice(self.worst, WORST_PER_BATCH)]
        for number in self.random.choice(len(self.by_recording), GROUPS_PER_BATCH // 2, replace=False, p=weights):
            chosen = self.random.choice(self.by_recording[number], 2)
            rows.append(np.concatenate([self.groups[group] for group in chosen]))
        length = int(self.random.integers(80, int(self.frames.shape[-1] / LONGEST_STRETCH) + 1))
        frames = torch.cat([self._another_recording(own, length) for own in rows])
        index = np.concatenate(rows)
        frames = self._masked(frames + 0.01 * torch.randn(frames.shape))
        targets, recordings = self.targets[index], self.recordings[index]
        if self.climbed:
            chosen = self.random.choice(len(self.climbed), min(CLIMBED_PER_BATCH, len(self.climbed)), replace=False)
            start = int(self.random.integers(0, self.frames.shape[-1] - length + 1))
            groups = [self.climbed[number] for number in chosen]
            frames = torch.cat([frames, *(own[..., start : start + length] for own, _ in groups)])
            targets = np.concatenate([targets, *(own for _, own in groups)])
            new = [np.full(len(own), 1_000_000 + k) for k, (_, own) in enumerate(groups)]  # each ranked in itself
            recordings = np.concatenate([recordings, *new])
        return frames, torch.from_numpy(targets), torch.from_numpy(recordings)

    def _another_recording(self, rows: NDArray[np.int64], length: int) -> Tensor:
        """Crops as if from another recording: other tempo, pitch and timbre, one change for all of them.

        The spectrum moves by up to four mel bands and through a smooth curve of about 3 dB; time runs up to a quarter
        faster or slower. What the faults did stays in the differences between the crops.
        """
        span = int(length * self.random.uniform(1 / LONGEST_STRETCH, LONGEST_STRETCH))
        start = int(self.random.integers(0, self.frames.shape[-1] - span + 1))
        frames = torch.from_numpy(np.asarray(self.frames[rows, :, :, start : start + span], np.float32))
        bands = frames.shape[2]
        moved = (torch.arange(bands) - int(self.random.integers(-4, 5))).clamp(0, bands - 1)
        place = torch.pi * (torch.arange(bands) + 0.5) / bands
        gains = self.random.normal(0.0, 0.03, 5) / np.sqrt(np.arange(1, 6))
        curve = torch.stack([float(gain) * torch.cos((k + 1) * place) for k, gain in enumerate(gains)]).sum(0)
        frames = (frames[:, :, moved] + curve[:, None]).clamp_min(0.0)
        stretched = nn.functional.interpolate(frames.flatten(1, 2), size=length, mode="linear")
        return stretched.reshape(len(rows), 2, bands, length)

    def _masked(self, frames: Tensor) -> Tensor:
        """Bands and moments set to nothing (Park et al., SpecAugment, Interspeech 2019)."""
        count, _, bands, length = frames.shape
        for axis, size, widest in ((2, bands, 8), (3, length, 12)):
            width = torch.from_numpy(self.random.integers(0, widest + 1, count) * (self.random.random(count) < 0.4))
            first = torch.from_numpy(self.random.integers(0, size - widest, count))
            index = torch.arange(size)
            masked = (index >= first[:, None]) & (index < (first + width)[:, None])
            shape = (count, 1, size, 1) if axis == 2 else (count, 1, 1, size)
            frames = frames * (~masked).reshape(shape)
        return frames


def _rows_by(numbers: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """For each number >= 0, the indices where it stands."""
    return [np.flatnonzero(numbers == number) for number in np.unique(numbers[numbers >= 0])]


def _mixup(frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Zhang et al., mixup, ICLR 2018, with Beta(0.4, 0.4)."""
    share = torch.distributions.Beta(0.4, 0.4).sample((len(targets),))
    order = torch.randperm(len(targets))
    spread = share[:, None, None, None]
    return spread * frames + (1 - spread) * frames[order], share * targets + (1 - share) * targets[order]
