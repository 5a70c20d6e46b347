"""A plucked string: the modes of an extended Karplus-Strong loop, without running the loop.

The loop is that of Jaffe and Smith (1983) and of J. O. Smith, Physical Audio Signal Processing, "Extended
Karplus-Strong algorithm": a delay of D samples, a damping filter G and dispersion all-passes A, with s per sample,

    H(s) = E(s) / (1 - e^{-L(s)}),    L(s) = s D - ln G(s) - sections ln A(s)
    G(s) = g ((1 + b) / 2 + (1 - b) / 2 cosh s),    A(s) = (a + e^{-s}) / (1 + a e^{-s})

It rings in its poles s_k, where L(s_k) = 2 pi j k, with the residues E(s_k) / L'(s_k): a sum of decaying sines that is
the loop's impulse response exactly, for any D, whole or not. So no interpolation detunes or dulls it, and a window of a
note is exact. D is solved for such that the first pole has the frequency asked for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SECTIONS = 8
"""All-passes in a row: the more, the higher the partials that stand where those of a stiff string do."""

_STEPS = 12
_STEEPEST = 1.0
"""[1/samples] Poles that die faster are taken to die like this: they are not heard."""


class Loop(NamedTuple):
    """What a batch of loops is made of, each float64 (voices,).

    delay: D [samples], the two of G's taps around its middle left out. gain, brightness: g and b. allpass: a.
    """

    delay: Tensor
    gain: Tensor
    brightness: Tensor
    allpass: Tensor


def dispersion(period: Tensor, inharmonicity: Tensor) -> Tensor:
    """The all-passes' coefficient with which the lower partials stand at k f sqrt(1 + B k^2), (voices,).

    An all-pass of the delay d = (1 - a) / (1 + a) at 0 Hz delays w by d - w^2 d (d^2 - 1) / 12, to the second order; a
    stiff string's period asks for P B / 2 less at the first partial. Of d^3 - d = y, with y = 6 B P^3 / (4 pi^2
    sections), the root over 1.

    Args:
        period: P [samples]. inharmonicity: B. Both (voices,); differentiable.
    """
    y = 6.0 * inharmonicity * period**3 / (4.0 * math.pi**2 * SECTIONS)
    with torch.no_grad():
        d = 1.0 + y ** (1.0 / 3.0)
        for _ in range(_STEPS):  # from above the root of a convex function: falls to it
            d = d - (d**3 - d - y) / (3.0 * d * d - 1.0)
    d = d - (d**3 - d - y) / (3.0 * d * d - 1.0).detach()
    return (1.0 - d) / (1.0 + d)


def tuned(frequency: Tensor, gain: Tensor, brightness: Tensor, allpass: Tensor) -> Loop:
    """The loop whose first pole has the frequency [radians per sample], (voices,).

    Both parts of L(s_1) = 2 pi j at s_1 = fall + j frequency: alternately the delay from the imaginary part and the
    fall by Newton's method from the real one.
    """
    fall = torch.zeros_like(frequency)
    delay = 2.0 * math.pi / frequency
    for _ in range(8):
        place = torch.complex(fall, frequency)[:, None]
        log = _filters(Loop(delay, gain, brightness, allpass), place)[:, 0]
        delay = (2.0 * math.pi + log.imag) / frequency
        steep = slope(Loop(delay, gain, brightness, allpass), place)[:, 0].real.detach().clamp_min(0.1)
        fall = (fall + (log.real - fall * delay) / steep).clamp(-_STEEPEST, 0.0)
    return Loop(delay, gain, brightness, allpass)


def partials(loop: Loop) -> Tensor:
    """How many poles each loop has below 95 % of the Nyquist frequency, one at least: int64 (voices,)."""
    half_turns = loop.delay.detach() + SECTIONS
    return (0.475 * half_turns).floor().clamp_min(1.0).to(torch.int64)


def poles(loop: Loop, frequency: Tensor, top: Tensor) -> Tensor:
    """The first poles with a positive frequency: complex128 (voices, top.max()), differentiable in the loop.

    From a voice's own `top` on (see `partials`) its last pole is repeated.

    Newton's method, first along the imaginary axis, where the phase rises ever more slowly: from the harmonic it falls
    short of the root and climbs to it. One step with gradients is the implicit function's derivative.
    """
    number = torch.arange(1, int(top.max()) + 1, device=frequency.device).minimum(top[:, None])
    target = 2.0 * math.pi * number.double()
    turns = torch.complex(torch.zeros_like(target), target)
    with torch.no_grad():
        place = torch.complex(torch.zeros_like(target), (frequency[:, None] * number).clamp_max(math.pi))
        for _ in range(_STEPS):
            missing = (_phase(loop, place) - turns).imag / slope(loop, place).real
            place = torch.complex(place.real, (place.imag - missing).clamp(0.0, math.pi))
        for _ in range(5):
            place = place - (_phase(loop, place) - turns) / slope(loop, place)
            place = torch.complex(place.real.clamp(-_STEEPEST, 0.0), place.imag.clamp(0.0, math.pi))
        missing = (_phase(loop, place) - turns) / slope(loop, place)
        found = missing.abs() < 1e-6
    missing = (_phase(loop, place) - turns) / slope(loop, place).detach()
    return place - torch.where(found, missing, torch.zeros_like(missing))


def slope(loop: Loop, place: Tensor) -> Tensor:
    """L'(s), (voices, poles): the residues' inverse; on the imaginary axis the loop's delay at that frequency."""
    b, a = loop.brightness[:, None], loop.allpass[:, None]
    back = torch.exp(-place)
    damping = (1.0 - b) * torch.sinh(place) / ((1.0 + b) + (1.0 - b) * torch.cosh(place))
    bent = -back / (a + back) + a * back / (1.0 + a * back)
    return loop.delay[:, None] - damping - SECTIONS * bent


def _phase(loop: Loop, place: Tensor) -> Tensor:
    """L(s), (voices, poles)."""
    return place * loop.delay[:, None] - _filters(loop, place)


def _filters(loop: Loop, place: Tensor) -> Tensor:
    """ln G + sections ln A, (voices, poles); an all-pass turns by half a turn at most: no branch to choose."""
    b, a = loop.brightness[:, None], loop.allpass[:, None]
    back = torch.exp(-place)
    damping = torch.log(0.5 * (1.0 + b) + 0.5 * (1.0 - b) * torch.cosh(place))
    bent = torch.log((a + back) / (1.0 + a * back))
    return torch.log(loop.gain)[:, None] + damping + SECTIONS * bent
