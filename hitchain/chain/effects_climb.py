"""A climb through effects over finished recordings: `climb_effects` turns a few knobs until a rating rises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from hitchain.blocks import registry
from hitchain.blocks.parameter import Parameter

LEARNED: dict[str, dict[str, float]] = {
    "effects/parametric_eq": {
        "low_shelf_gain": 0.0, "peak1_gain": 0.0, "peak2_gain": 0.0, "peak3_gain": 0.0, "peak4_gain": 0.0,
        "high_shelf_gain": 0.0,
    },
    "effects/compressor": {"threshold": -18.0, "ratio": 3.0, "mix": 0.1},
    "mastering/saturation": {"drive": 6.0, "mix": 0.1},
    "effects/reverb": {"decay_mid": 1.6, "mix": 0.05},
    "mastering/width": {"width": 1.0},
}  # fmt: skip
"""The effects in their order, and the knobs that are turned, each with where it hardly does anything."""

STEPS = 20
PACE = 0.15
SPREAD = 0.15
"""How far from neutral random knobs stand: the standard deviation, as a share of their range."""


class Effects(nn.Module):
    """Equaliser, compressor, saturation, reverb and width in series, with `LEARNED` knobs.

    Shape:
        - audio: (batch, 2, samples)
        - positions: (batch, knobs), unbounded; a sigmoid makes them shares of each knob's range
        - output: (batch, 2, samples)
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.blocks = {name: registry.create(name, sample_rate) for name in LEARNED}
        self.row = nn.ModuleList(self.blocks.values())
        self.knobs = [
            (name, parameter)
            for name, block in self.blocks.items()
            for parameter in block.parameters
            if isinstance(parameter, Parameter) and parameter.name in LEARNED[name]
        ]

    def neutral(self) -> Tensor:
        """The unbounded positions (knobs,) at which the effects hardly do anything."""
        stands = [parameter.to_unit(torch.tensor(LEARNED[name][parameter.name])) for name, parameter in self.knobs]
        return torch.logit(torch.stack(stands))

    def forward(self, audio: Tensor, positions: Tensor) -> Tensor:
        turned = torch.sigmoid(positions)
        for name, block in self.blocks.items():
            settings = block.defaults(len(audio))
            for column, (owner, parameter) in enumerate(self.knobs):
                if owner == name:
                    settings[parameter.name] = parameter.from_unit(turned[:, column])
            audio = block(audio, settings)
        return audio


def climb_effects(
    rate: Callable[[Tensor], Tensor],
    audio: Tensor,
    seed: int,
    sample_rate: int,
    steps: int = STEPS,
    pace: float = PACE,
    spread: float = SPREAD,
) -> Iterator[Tensor]:
    """The audio after each step of a climb through the knobs of `Effects`; first as the starting knobs make it.

    Args:
        rate: audio (batch, 2, samples) -> ratings (batch,), differentiable.
        audio: (batch, 2, samples).
        seed: of where the knobs stand at first, around neutral.
        steps, pace: of Adam (Kingma and Ba 2015) on the unbounded positions.
        spread: standard deviation of the first positions, as a share of the range.
    """
    effects = Effects(sample_rate)
    neutral = torch.sigmoid(effects.neutral())
    moves = spread * torch.randn(len(audio), len(neutral), generator=torch.Generator().manual_seed(seed))
    positions = torch.logit((neutral + moves).clamp(0.02, 0.98)).requires_grad_(True)
    optimiser = torch.optim.Adam([positions], lr=pace, maximize=True)
    for step in range(steps + 1):
        heard = effects(audio, positions)
        yield heard.detach()
        if step < steps:
            (positions.grad,) = torch.autograd.grad(rate(heard).sum(), positions)
            optimiser.step()


def climber(sample_rate: int, spread: float = SPREAD, steps: int = STEPS) -> Callable[..., Iterator[Tensor]]:
    """`climb_effects` at a sample rate, as a function (rate, audio, seed)."""
    return partial(climb_effects, sample_rate=sample_rate, spread=spread, steps=steps)
