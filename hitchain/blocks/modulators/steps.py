"""Modulators that go from value to value: a step sequencer, and seeded chance."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.dsp import noise
from hitchain.blocks.modulation import AMOUNT, Cue, Modulator
from hitchain.blocks.movement import synced_rate
from hitchain.blocks.parameter import SEED, Parameter, Settings
from hitchain.blocks.registry import register

COUNT = 8


def glided(before: Tensor, now: Tensor, since: Tensor, glide: Tensor) -> Tensor:
    """From one value to the next along 3x^2 - 2x^3, which takes `glide` of the step.

    Args:
        before, now: the values of the step before and of this one, (batch, frames).
        since: share of this step that has passed, (batch, frames), from 0 to 1.
        glide: (batch,), above 0.
    """
    x = (since / glide.unsqueeze(-1)).clamp_max(1.0)
    return before + (now - before) * x * x * (3.0 - 2.0 * x)


def _passed(rate: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Whole steps since the song began, and the share of the next one: (batch, frames) each."""
    steps = rate.double().unsqueeze(-1) * times
    whole = steps.detach().floor()
    return whole.long(), (steps - whole).to(rate.dtype)


RATE = Parameter("rate", 0.1, 32.0, default=4.0, unit="Hz", scale="log", description="steps a second")


@register("modulators/steps")
class Steps(Modulator):
    """Step sequencer: eight values in a row, round and round from the start of the song, -1 to 1.

    Each step glides in from the one before along 3x^2 - 2x^3, over `glide` of its length.

    Args:
        sample_rate: [Hz].
        sync: a note value for one step ("1/16", "1/8." dotted, "1/8t" triplet); otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        AMOUNT,
        RATE,
        Parameter("glide", 0.05, 1.0, default=0.2, description="share of a step spent on the way from the last one"),
        *(
            Parameter(f"step{n + 1}", -1.0, 1.0, default=value, description=f"value of step {n + 1}")
            for n, value in enumerate((1.0, 0.0, 0.5, -0.5, 0.8, -1.0, 0.3, -0.3))
        ),
    )
    presets: ClassVar = {
        "stairs": {f"step{n + 1}": 2.0 * n / 7.0 - 1.0 for n in range(COUNT)},
        "every other": {f"step{n + 1}": 1.0 if n % 2 == 0 else -1.0 for n in range(COUNT)},
        "gliding": {"glide": 1.0, "rate": 2.0},
    }
    probe: ClassVar = {"rate": 20.0}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (AMOUNT, synced_rate(RATE, sync, tempo), *type(self).parameters[2:])  # type: ignore[misc]

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        index, since = _passed(settings["rate"], cue.times)
        values = torch.stack([settings[f"step{n + 1}"] for n in range(COUNT)], dim=-1)
        before, now = (values.gather(1, (index - back) % COUNT) for back in (1, 0))
        return glided(before, now, since, settings["glide"])


@register("modulators/random")
class Random(Modulator):
    """Random: a new value at every step, by chance; -1 to 1, the same for the same seed and the same moment of a song.

    With `smooth` at 1 it wanders without standing still; below, it stands on each value (sample and hold) and goes over
    to the next along 3x^2 - 2x^3. Values are evenly spread.

    Args:
        sample_rate: [Hz].
        sync: a note value for one step ("1/16", "1/8." dotted, "1/8t" triplet); otherwise the rate is free.
        tempo: quarter notes per minute.
    """

    parameters = (
        AMOUNT,
        RATE,
        Parameter("smooth", 0.05, 1.0, default=1.0, description="share of a step spent on the way from the last value"),
    )
    presets: ClassVar = {
        "drift": {"rate": 0.3, "amount": 0.1},
        "sample and hold": {"rate": 8.0, "smooth": 0.05, "amount": 0.4},
        "flutter": {"rate": 14.0, "amount": 0.05},
    }
    probe: ClassVar = {"rate": 20.0}

    def __init__(self, sample_rate: int = 44100, sync: str | None = None, tempo: float = 120.0) -> None:
        super().__init__(sample_rate)
        self.parameters = (AMOUNT, synced_rate(RATE, sync, tempo), *type(self).parameters[2:])  # type: ignore[misc]

    def control(self, cue: Cue, settings: Settings) -> Tensor:
        index, since = _passed(settings["rate"], cue.times)
        seed, like = settings.get(SEED, 0), settings["rate"]
        before, now = (
            noise.noise(seed, 1, start=index - back, dtype=like.dtype, device=like.device)[..., 0] / 3.0**0.5
            for back in (1, 0)
        )
        return glided(before, now, since, settings["smooth"])
