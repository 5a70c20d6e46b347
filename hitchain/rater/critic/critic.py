"""The critic: real recordings against output, learnt as output comes in, calibrated as it goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from hitchain.errors import UserError, nearest
from hitchain.rater import weights
from hitchain.rater.critic import calibration
from hitchain.rater.critic.frames import FRONT_END, cut, disguise, mix, recall, store
from hitchain.rater.critic.network import CriticNetwork
from hitchain.rater.critic.real import EXCERPT_FRAMES, Real
from hitchain.rater.critic.replay import Replay
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.rater import check_audio

FORMAT = "hitchain-critic"
VERSION = 1
PIECES = 6
"""At most so many excerpts are kept of one output, however long it is."""
CALIBRATION_REAL = 36
CALIBRATION_OUTPUTS = 36


@dataclass(frozen=True)
class CriticSettings:
    """How the critic learns.

    Attributes:
        first_steps: optimiser steps at the first update, from which the critic is of use.
        steps: optimiser steps at every later update.
        batch: excerpts in a step, half real and half output.
        learning_rate: Adam's (betas 0.5 and 0.9).
        instance_noise: standard deviation of the noise on frames while learning, in frames' units (70 dB).
        recent, old: excerpts of output kept: the newest, and a fair sample of those before them.
        folds: networks, each of which learns from all but its own part of the recordings and of the output. Together
            they answer; on its own part each shows how well the answer can be believed. At least 2.
    """

    first_steps: int = 80
    steps: int = 2
    batch: int = 16
    learning_rate: float = 1e-3
    instance_noise: float = 0.05
    recent: int = 48
    old: int = 96
    folds: int = 3

    def __post_init__(self) -> None:
        checks = {
            "first_steps": 0 <= self.first_steps <= 10_000,
            "steps": 0 <= self.steps <= 1000,
            "batch": 2 <= self.batch <= 512,
            "learning_rate": 0 < self.learning_rate <= 0.1,
            "instance_noise": 0 <= self.instance_noise <= 1,
            "recent": 1 <= self.recent <= 10_000,
            "old": 1 <= self.old <= 10_000,
            "folds": 2 <= self.folds <= 20,
        }
        for key, good in checks.items():
            if not good:
                raise UserError(f"critic setting {key} is {getattr(self, key)!r}, which is out of range.")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> CriticSettings:
        """Settings from a config, unknown keys and wrong types named."""
        known = {field.name: field.default for field in fields(cls)}
        for key, value in values.items():
            if key not in known:
                raise UserError(f"unknown critic setting {key!r}; {nearest(str(key), known)}")
            whole = isinstance(known[key], int)
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise UserError(f"critic setting {key} is {value!r}; it must be a {'whole ' if whole else ''}number.")
        return cls(**values)


class Critic:
    """How likely audio is a real recording and not output.

    Args:
        real: recordings to learn from and to be calibrated on (see `hitchain.rater.critic.real`).
        settings: how it learns.
        seed: with the output it is given, decides everything.

    It holds no more memory however long it goes on. Everything random comes from the seed and the number of the update,
    so a critic that is resumed from its `state` goes on as it would have, to the bit.
    """

    def __init__(self, real: Real, settings: CriticSettings | None = None, seed: int = 0) -> None:
        self.real = real
        self.settings = settings or CriticSettings()
        self.seed = seed
        self.front_end = FrontEnd(FRONT_END)
        count = self.settings.folds
        self._real = [fold for fold in real.folds(count, seed) if fold]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = nn.ModuleList(CriticNetwork(FRONT_END.mel_bands) for _ in range(count))
        self.optimiser = torch.optim.Adam(self.networks.parameters(), lr=self.settings.learning_rate, betas=(0.5, 0.9))
        self.networks.eval().requires_grad_(False)
        self.replay = Replay(self.settings.recent, self.settings.old, seed)
        self.platt = calibration.Platt()
        self.updates = 0

    def to(self, device: torch.device | str) -> Critic:
        """Move the networks to where the audio is."""
        self.networks.to(device)
        self.front_end.to(device)
        for state in self.optimiser.state.values():
            state.update({key: value.to(device) if key != "step" else value for key, value in state.items()})
        return self

    def __call__(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Calibrated log-odds (natural logarithm) that audio is a real recording, were both kinds as frequent.

        0 before the first update. Differentiable in the audio, finite also at silence; its level does not matter.

        Shape:
            - audio: (batch, channels, samples), channels 1 or 2, at least one second
            - output: (batch,)

        Raises:
            UserError: the audio is too short or has a wrong shape, or the sample rate is out of range.
        """
        check_audio(audio, sample_rate)
        logits = self._logits(self.front_end(audio, sample_rate))
        if not self.updates:
            return 0.0 * logits
        return self.platt.slope * logits + self.platt.offset

    def _logits(self, frames: Tensor) -> Tensor:
        return torch.stack([network(frames) for network in self.networks]).mean(dim=0)

    def term(self, audio: Tensor, sample_rate: int) -> Tensor:
        """log P(real), (batch,): a term for an objective, to be weighted and added.

        Never above 0, and its slope in the log-odds is never above 1 and goes to 0 for what already passes for real:
        the term pulls output back toward recordings, and does not pay for more.
        """
        return logsigmoid(self(audio, sample_rate))

    def update(self, audio: Tensor, sample_rate: int) -> dict[str, float]:
        """Take in output, learn a little, and calibrate.

        Args:
            audio: output (batch, channels, samples), from one second.

        Returns:
            `log_odds`: the mean of this audio's, before the critic learnt from it; `fooled`: the share of it that
            passed for real; `loss`: of the last optimiser step (binary cross-entropy, 0.693 for a guess);
            `calibration_error`: expected, 0 to 1, on the newest output and the recordings, each judged by the network
            that did not learn from it.
        """
        audio = audio.detach()
        with torch.no_grad():
            before = self(audio, sample_rate)
            excerpts = store(cut(self.front_end(audio, sample_rate), EXCERPT_FRAMES, PIECES)).cpu()
        self.replay.add(excerpts, self._folds(len(excerpts)))
        loss = self._learn(self.settings.steps if self.updates else self.settings.first_steps)
        self.updates += 1
        error = self._calibrate()
        return {
            "log_odds": float(before.mean()),
            "fooled": float((before > 0).float().mean()),
            "loss": loss,
            "calibration_error": error,
        }

    def _folds(self, excerpts: int) -> list[int]:
        """To which part new excerpts belong: all of an update to one, as they are alike; those of the first in turn."""
        count = self.settings.folds
        return [(index if self.updates == 0 else self.updates) % count for index in range(excerpts)]

    def _learn(self, steps: int) -> float:
        self.networks.train().requires_grad_(True)
        loss = math.nan
        for step in range(steps):
            loss = self._step(step)
        self.networks.eval().requires_grad_(False)
        return loss

    @torch.enable_grad()
    def _step(self, step: int) -> float:
        """A step of every network, on batches of their own."""
        losses = []
        for fold, network in enumerate(self.networks):
            frames, truth = self._batch(fold, np.random.default_rng([self.seed, 1, self.updates, step, fold]))
            losses.append(binary_cross_entropy_with_logits(network(frames), truth))
        loss = torch.stack(losses).mean()
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        for network in self.networks:
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def _batch(self, fold: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Disguised and blended frames of both kinds, none of the fold, and their truth."""
        half = self.settings.batch // 2
        excerpts = torch.cat([self._real_batch(fold, half, random), self.replay.sample(half, random, without=fold)])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        frames = disguise(recall(excerpts), generator, self.settings.instance_noise)
        frames, truth = mix(frames, torch.cat([torch.ones(half), torch.zeros(half)]), random)
        length = int(random.integers(EXCERPT_FRAMES // 2, EXCERPT_FRAMES + 1))
        start = int(random.integers(EXCERPT_FRAMES - length + 1))
        return frames[..., start : start + length].to(self._device), truth.to(self._device)

    def _real_batch(self, fold: int, count: int, random: np.random.Generator) -> Tensor:
        """Excerpts of recordings that are not of the fold, every recording as often as another."""
        known = [recording for part, fold_of in enumerate(self._real) if part != fold for recording in fold_of]
        recordings = [known[int(i)] for i in random.integers(len(known), size=count)]
        return self.real.frames[[recording[int(random.integers(len(recording)))] for recording in recordings]]

    @torch.no_grad()
    def _calibrate(self) -> float:
        """Fit slope and offset on what each network did not learn from; returns the calibration error left there."""
        real, output = [], []
        for fold, network in enumerate(self.networks):
            unheard = [item.frames for item in self.replay.recent[-CALIBRATION_OUTPUTS:] if item.fold == fold]
            if unheard:
                output.append(network(recall(torch.stack(unheard)).to(self._device)).cpu().numpy())
            if fold < len(self._real):
                real.append(network(recall(self._unheard_real(fold)).to(self._device)).cpu().numpy())
        known, made = np.concatenate(real), np.concatenate(output)
        self.platt = calibration.fit(known, made, recordings=sum(len(fold) for fold in self._real))
        log_odds = self.platt.slope * np.concatenate([known, made]) + self.platt.offset
        return calibration.expected_calibration_error(log_odds, np.repeat([True, False], [len(known), len(made)]))

    def _unheard_real(self, fold: int) -> Tensor:
        """A few excerpts of every recording of a fold, other ones at every update, so that all have their turn."""
        recordings = self._real[fold][: max(1, CALIBRATION_REAL // self.settings.folds)]
        each = max(1, CALIBRATION_REAL // self.settings.folds // len(recordings))
        chosen = [
            recording[(self.updates * each + i) % len(recording)] for recording in recordings for i in range(each)
        ]
        return self.real.frames[chosen]

    @property
    def _device(self) -> torch.device:
        return next(self.networks.parameters()).device

    def state(self) -> dict[str, Tensor]:
        """Everything but the recordings, as tensors for a checkpoint; `about` holds what is no tensor, as JSON text."""
        replay, values = self.replay.state()
        entries = self.optimiser.state_dict()["state"].items()
        about = {
            "format": FORMAT, "version": VERSION, "seed": self.seed, "settings": asdict(self.settings),
            "real": self.real.identity(), "updates": self.updates, "platt": asdict(self.platt), "replay": values,
        }  # fmt: skip
        tensors = {
            "about": torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8),
            **{f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()},
            **{f"optimiser.{i}.{key}": torch.as_tensor(value) for i, entry in entries for key, value in entry.items()},
            **{f"replay.{name}": tensor for name, tensor in replay.items()},
        }
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`. The settings and the seed are those of the state.

        Raises:
            UserError: it is not a critic's, is damaged, or was made with other recordings.
        """
        about = _about(state)
        if about.get("format") != FORMAT or about.get("version") != VERSION:
            raise UserError(f"this is not the state of a realness critic (version {VERSION}).")
        if about.get("real") != self.real.identity():
            raise UserError("the critic's state was made with other real recordings; give the same ones as then.")
        try:
            fresh = Critic(self.real, CriticSettings.from_mapping(about["settings"]), int(about["seed"]))
            fresh._fill(state, about)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(f"the critic's state is damaged: {error}") from error
        device = self._device
        self.__dict__.update(fresh.__dict__)
        self.to(device)

    def _fill(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        self.networks.load_state_dict(_under(tensors, "networks."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor.clone()
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.replay.load_state(_under(tensors, "replay."), about["replay"])
        self.platt = calibration.Platt(**{key: float(value) for key, value in about["platt"].items()})
        self.updates = int(about["updates"])

    def save(self, path: str | Path) -> None:
        """Write the state as a file, whole or not at all."""
        weights.save_tensors(path, self.state(), {"format": FORMAT, "version": VERSION})

    @classmethod
    def load(cls, path: str | Path, real: Real) -> Critic:
        """The critic that `save` wrote, with the same recordings.

        Raises:
            UserError: see `load_state`; or the file is missing or truncated.
        """
        tensors, _ = weights.load_tensors(path)
        critic = cls(real)
        try:
            critic.load_state(tensors)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return critic


def _about(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The JSON values in a state; empty where there are none."""
    text = state.get("about")
    if text is None or text.dtype != torch.uint8:
        return {}
    try:
        values = json.loads(bytes(text.flatten().tolist()))
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
