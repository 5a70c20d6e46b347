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
CALIBRATION_EXCERPTS = 64


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
        held: excerpts of output kept for calibration, the newest; the critic never learns from them.
        held_every: one update in so many is kept for calibration; of the first, every third excerpt.
        held_share: share of the real recordings kept for calibration.
    """

    first_steps: int = 80
    steps: int = 2
    batch: int = 16
    learning_rate: float = 1e-3
    instance_noise: float = 0.05
    recent: int = 48
    old: int = 96
    held: int = 48
    held_every: int = 4
    held_share: float = 0.25

    def __post_init__(self) -> None:
        checks = {
            "first_steps": 0 <= self.first_steps <= 10_000,
            "steps": 0 <= self.steps <= 1000,
            "batch": 2 <= self.batch <= 512,
            "learning_rate": 0 < self.learning_rate <= 0.1,
            "instance_noise": 0 <= self.instance_noise <= 1,
            "recent": 1 <= self.recent <= 10_000,
            "old": 1 <= self.old <= 10_000,
            "held": 1 <= self.held <= 10_000,
            "held_every": self.held_every >= 2,
            "held_share": 0 < self.held_share < 1,
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
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = CriticNetwork(FRONT_END.mel_bands)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate, betas=(0.5, 0.9))
        self.network.eval().requires_grad_(False)
        self.replay = Replay(self.settings.recent, self.settings.old, seed)
        self.held: list[Tensor] = []
        self.platt = calibration.Platt()
        self.updates = 0
        self._learnt, calibrating = real.split(self.settings.held_share, seed)
        held_real = [excerpt for recording in calibrating for excerpt in recording]
        self._held_real = real.frames[held_real[:: max(1, -(-len(held_real) // CALIBRATION_EXCERPTS))]]

    def to(self, device: torch.device | str) -> Critic:
        """Move the network to where the audio is."""
        self.network.to(device)
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
        logits: Tensor = self.network(self.front_end(audio, sample_rate))
        if not self.updates:
            return 0.0 * logits
        return self.platt.slope * logits + self.platt.offset

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
            `calibration_error`: expected, 0 to 1, on what is held out.
        """
        audio = audio.detach()
        with torch.no_grad():
            before = self(audio, sample_rate)
            excerpts = store(cut(self.front_end(audio, sample_rate), EXCERPT_FRAMES, PIECES)).cpu()
        self._take(excerpts)
        loss = self._learn(self.settings.steps if self.updates else self.settings.first_steps)
        self.updates += 1
        error = self._calibrate()
        return {
            "log_odds": float(before.mean()),
            "fooled": float((before > 0).float().mean()),
            "loss": loss,
            "calibration_error": error,
        }

    def _take(self, excerpts: Tensor) -> None:
        """New excerpts to learn from, or to hold out. Whole updates are held out: what one holds is much alike."""
        if self.updates == 0:
            held = torch.arange(len(excerpts)) % 3 == 2
            self.replay.add(excerpts[~held])
            self.held += list(excerpts[held])
        elif self.updates % self.settings.held_every == self.settings.held_every - 1:
            self.held += list(excerpts)
        else:
            self.replay.add(excerpts)
        self.held = self.held[-self.settings.held :]

    def _learn(self, steps: int) -> float:
        self.network.train().requires_grad_(True)
        loss = math.nan
        for step in range(steps):
            loss = self._step(np.random.default_rng([self.seed, 1, self.updates, step]))
        self.network.eval().requires_grad_(False)
        return loss

    @torch.enable_grad()
    def _step(self, random: np.random.Generator) -> float:
        half = self.settings.batch // 2
        batch = torch.cat([self._real_batch(half, random), self.replay.sample(half, random)])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        frames = disguise(recall(batch), generator, self.settings.instance_noise)
        length = int(random.integers(EXCERPT_FRAMES // 2, EXCERPT_FRAMES + 1))
        start = int(random.integers(EXCERPT_FRAMES - length + 1))
        device = next(self.network.parameters()).device
        frames, truth = mix(frames, torch.cat([torch.ones(half), torch.zeros(half)]), random)
        logits = self.network(frames[..., start : start + length].to(device))
        truth = truth.to(device)
        loss = binary_cross_entropy_with_logits(logits, truth)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def _real_batch(self, count: int, random: np.random.Generator) -> Tensor:
        """Excerpts of recordings, every recording as often as another."""
        recordings = [self._learnt[int(i)] for i in random.integers(len(self._learnt), size=count)]
        return self.real.frames[[recording[int(random.integers(len(recording)))] for recording in recordings]]

    @torch.no_grad()
    def _calibrate(self) -> float:
        """Fit slope and offset on what is held out; returns the calibration error that is left there."""
        if not self.held:
            return math.nan
        device = next(self.network.parameters()).device
        kinds = (self._held_real, torch.stack(self.held))
        real, output = (self.network(recall(frames).to(device)).cpu().numpy() for frames in kinds)
        self.platt = calibration.fit(real, output)
        log_odds = self.platt.slope * np.concatenate([real, output]) + self.platt.offset
        return calibration.expected_calibration_error(log_odds, np.repeat([True, False], [len(real), len(output)]))

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
            **{f"network.{name}": tensor for name, tensor in self.network.state_dict().items()},
            **{f"optimiser.{i}.{key}": torch.as_tensor(value) for i, entry in entries for key, value in entry.items()},
            **{f"replay.{name}": tensor for name, tensor in replay.items()},
            **({"held": torch.stack(self.held)} if self.held else {}),
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
        device = next(self.network.parameters()).device
        self.__dict__.update(fresh.__dict__)
        self.to(device)

    def _fill(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        self.network.load_state_dict(_under(tensors, "network."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimiser.").items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = tensor.clone()
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.replay.load_state(_under(tensors, "replay."), about["replay"])
        self.held = list(tensors["held"]) if "held" in tensors else []
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
