"""A rectangular room by image sources (J. B. Allen, D. A. Berkley, "Image method for efficiently simulating small-room
acoustics", JASA 65(4), 1979): each reflection is the sound of a mirrored source.

Along an axis of length L the image n of a source at s stands at n L + s where n is even, n L + L - s where it is odd,
after |n| reflections. An image at distance r is a wave 1 / r, late by r / c, times what each wall leaves of it.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from hitchain.blocks.dsp import fft
from hitchain.blocks.dsp.acoustics import SPEED_OF_SOUND

HALF = 16
"""Half the length of the windowed sinc that puts a wave between samples [samples]."""


@lru_cache(maxsize=8)
def image_numbers(order: int) -> Tensor:
    """The images of at most so many reflections, (images, 3), by their number of reflections."""
    near = range(-order, order + 1)
    found = [(x, y, z) for x in near for y in near for z in near if abs(x) + abs(y) + abs(z) <= order]
    return torch.tensor(sorted(found, key=lambda image: sum(map(abs, image))))


def images(room: Tensor, source: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Where the images stand, (batch, images, 3) [m], and how often each is reflected, (images,).

    Args:
        room: (batch, 3), length, breadth and height [m]. source: (batch, 3) from a corner [m].
    """
    numbers = image_numbers(order).to(room.device)
    odd = (numbers % 2).to(room.dtype)
    places = numbers * room[:, None] + source[:, None] + odd * (room - 2.0 * source)[:, None]
    return places, numbers.abs().sum(dim=-1)


def arrivals(delays: Tensor, gains: Tensor, groups: Tensor, count: int, samples: int) -> Tensor:
    """Waves as samples: sum of g sinc(t - d) cos^2(pi (t - d) / (2 HALF)), |t - d| < HALF.

    Args:
        delays: d [samples], (batch, waves), at least 0. gains: g, (batch, waves).
        groups: to which of `count` rows each wave belongs, (waves,).
        samples: length of a row; what comes later is left out.

    Returns:
        (batch, count, samples + HALF): the first HALF samples are before the moment 0.
    """
    whole = delays.detach().floor()
    steps = torch.arange(1 - HALF, HALF + 1, dtype=delays.dtype, device=delays.device)
    offset = steps - (delays - whole)[..., None]
    taps = gains[..., None] * torch.sinc(offset) * torch.cos(math.pi / (2 * HALF) * offset).square()
    length = samples + 3 * HALF
    place = (whole + HALF).clamp(max=samples + 2 * HALF - 1)[..., None].long() + steps.long()
    place = place + groups[:, None] * length
    rows = torch.zeros(len(delays), count * length, dtype=delays.dtype, device=delays.device)
    rows = rows.scatter_add(1, place.flatten(1), taps.flatten(1))
    return rows.view(len(delays), count, length)[..., : samples + HALF]


def reflected(groups: Tensor, wall: Tensor, n_fft: int) -> Tensor:
    """The spectra of rows of `arrivals`, row k times the wall's response to the power k, added up: (batch, bins).

    Args:
        groups: (batch, count, samples). wall: complex (batch, bins).
    """
    spectra = fft.rfft(groups[..., :n_fft], n_fft)
    total = spectra[:, -1]
    for index in range(groups.shape[1] - 2, -1, -1):
        total = spectra[:, index] + wall * total
    late = torch.arange(spectra.shape[-1], dtype=wall.real.dtype, device=wall.device) * (2.0 * math.pi * HALF / n_fft)
    return total * torch.polar(torch.ones_like(late), late)


def distances(places: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """From a point (batch, 3) to places (batch, images, 3): lengths (batch, images), and unit vectors."""
    path = places - point[:, None]
    length = path.square().sum(dim=-1).sqrt()
    return length, path / length[..., None]


def travel(length: Tensor, sample_rate: int) -> Tensor:
    """How long sound takes over a length [m], in samples."""
    return length * (sample_rate / SPEED_OF_SOUND)
