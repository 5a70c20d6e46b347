"""Log-mel frames as the critic keeps them, and the disguises it learns under.

Real recordings come as MP3 or OGG, with fades and a master's level; output comes as float samples from a known rate.
A critic that saw those would learn the container and nothing about music. So both kinds are kept on the same grid of
eight bits, and every batch of either kind is put through the same random chain before the network hears it: another
level and fade, a band limit, an equaliser, a width or mono, a noise floor, silence before or after, and noise on the
frames themselves (instance noise: Sonderby et al. 2017; Mescheder, Geiger and Nowozin 2018 prove that it makes such a
game converge).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hitchain.rater.frontend import FrontEndSettings

FRONT_END = FrontEndSettings()
GRID = 200.0
"""Steps of the stored frames per unit: 70 dB / 200 = 0.35 dB, and room for 1.275."""
BLEND = 0.4
"""Of the beta distribution from which the shares in a blend are drawn: mostly one item, now and then both."""


def store(frames: Tensor) -> Tensor:
    """Frames of the front end as whole steps of 0.35 dB: uint8, a quarter of the memory."""
    return (frames.detach() * GRID).round().clamp(0, 255).to(torch.uint8)


def recall(stored: Tensor) -> Tensor:
    """The frames that `store` kept, to within half a step."""
    return stored.float() / GRID


def cut(frames: Tensor, length: int, most: int) -> Tensor:
    """Excerpts of every item, side by side in time; what is too short gets silence behind it.

    Shape:
        - frames: (batch, 2, bands, frames)
        - output: (batch * pieces, 2, bands, length), pieces = frames // length, at least 1 and at most `most`, spread
          evenly; the pieces of an item follow one another
    """
    total = frames.shape[-1]
    if total < length:
        return torch.nn.functional.pad(frames, (0, length - total))
    pieces = min(most, total // length)
    starts = [round((total - length) * (piece + 0.5) / pieces) for piece in range(pieces)]
    return torch.stack([frames[..., start : start + length] for start in starts], dim=1).flatten(0, 1)


def disguise(frames: Tensor, generator: torch.Generator, instance_noise: float) -> Tensor:
    """Frames (batch, 2, bands, frames) with everything changed at random that must not tell real from output."""
    batch, _, bands, length = frames.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *(shape or (1,)), generator=generator)

    def chance(share: float) -> Tensor:
        return torch.rand(batch, 1, generator=generator) < share

    band = torch.linspace(0.0, 1.0, bands)
    time = torch.linspace(-1.0, 1.0, length)
    mid_and_side = torch.zeros(batch, 2, bands, length)
    # Level, a fade, and a smooth equaliser: a tilt and a slow wave along the bands.
    mid_and_side += (uniform(-6, 6) + uniform(-4, 4) * time)[:, None, None, :]
    tilt = uniform(-4, 4) * (band - 0.5) * 2 + uniform(0, 3) * torch.sin(6.3 * (uniform(0.5, 2) * band + uniform(0, 1)))
    mid_and_side += tilt[:, None, :, None]
    # A band limit: sample rates from 8 kHz up and what codecs leave out. 40 of 80 bands are 3.4 kHz, 70 are 11 kHz.
    edge = torch.where(chance(0.5), uniform(0.6, 1.0), torch.full((batch, 1), 2.0))
    mid_and_side -= ((band - edge).clamp_min(0) * bands * 20).clamp_max(120)[:, None, :, None]
    # Width, down to mono.
    width = torch.where(chance(0.3), torch.full((batch, 1), -120.0), uniform(-6, 4))
    mid_and_side[:, 1] += width[:, :, None]
    power = to_power(frames) * 10.0 ** (mid_and_side / 10.0)
    # A noise floor covers the digital silence of one kind and the room of the other.
    power = power + 10.0 ** (uniform(-75, -45)[:, :, None, None] / 10.0)
    heard = from_power(power)
    heard = heard + instance_noise * torch.randn(heard.shape, generator=generator)
    # Silence before or after.
    share = torch.where(chance(0.3), uniform(-0.3, 0.3), torch.zeros(batch, 1))
    place = torch.linspace(0.0, 1.0, length)
    sounding = torch.where(share > 0, place >= share, place <= 1.0 + share)
    return (heard * sounding[:, None, None, :]).clamp_min(0.0)


def mix(frames: Tensor, truth: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Every item blended with another of the batch, and its truth alike (mixup; Zhang et al. 2018).

    Between recordings and output the critic so learns a slope, which a climb can go up, and not a cliff; and it states
    its doubts better (Thulasidasan et al. 2019).

    Shape:
        - frames: (batch, 2, bands, frames)
        - truth: (batch,)
    """
    weight = torch.from_numpy(random.beta(BLEND, BLEND, len(frames))).to(frames)
    other = torch.from_numpy(random.permutation(len(frames)))
    wide = weight[:, None, None, None]
    return torch.lerp(frames[other], frames, wide), torch.lerp(truth[other], truth, weight)


def to_power(frames: Tensor) -> Tensor:
    """The mel power behind frames of the front end."""
    floor = FRONT_END.floor_db
    power: Tensor = 10.0 ** ((frames * abs(floor) + floor) / 10.0) - 10.0 ** (floor / 10.0)
    return power.clamp_min(0.0)


def from_power(power: Tensor) -> Tensor:
    """Mel power as frames of the front end."""
    floor = FRONT_END.floor_db
    return (10.0 * torch.log10(power + 10.0 ** (floor / 10.0)) - floor) / abs(floor)
