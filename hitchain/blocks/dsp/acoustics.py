"""Sound on its way from a small source to a microphone: distance, air, floor, capsule. Everything in frequency.

Shapes: frequencies are (bins,), whatever belongs to a batch item is (batch, 1), results are (batch, bins).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

SPEED_OF_SOUND = 343.2
"""[m/s] in air at 20 C (ISO 9613-1, annex A: 343.2 sqrt(T / 293.15 K))."""


def air_absorption(
    frequency: Tensor, temperature: float = 20.0, humidity: float = 50.0, pressure: float = 101.325
) -> Tensor:
    """Attenuation of a pure tone by the atmosphere, ISO 9613-1:1993, equations 3 to 5 and B.1 to B.3.

        alpha = 8.686 f^2 (1.84e-11 p^-1 t^1/2 + t^-5/2 (0.01275 e^(-2239.1 / T) / (f_O + f^2 / f_O)
                                                        + 0.1068 e^(-3352.0 / T) / (f_N + f^2 / f_N)))

    with t = T / 293.15 K, p in units of 101.325 kPa, and the relaxation frequencies f_O of oxygen and f_N of nitrogen.

    Args:
        frequency: [Hz], any shape.
        temperature: [C]. humidity: relative [%]. pressure: [kPa].

    Returns:
        [dB/m], the shape of `frequency`.
    """
    kelvin, relative_pressure = temperature + 273.15, pressure / 101.325
    ratio = kelvin / 293.15
    saturation = 10.0 ** (4.6151 - 6.8346 * (273.16 / kelvin) ** 1.261)
    molar = humidity * saturation / relative_pressure  # concentration of water vapour [%]
    oxygen = relative_pressure * (24.0 + 4.04e4 * molar * (0.02 + molar) / (0.391 + molar))
    nitrogen = 9.0 + 280.0 * molar * math.exp(-4.170 * (ratio ** (-1.0 / 3.0) - 1.0))
    nitrogen *= relative_pressure / math.sqrt(ratio)
    square = frequency.square()
    classical = 1.84e-11 / relative_pressure * math.sqrt(ratio)
    by_oxygen = 0.01275 * math.exp(-2239.1 / kelvin) / (oxygen + square / oxygen)
    by_nitrogen = 0.1068 * math.exp(-3352.0 / kelvin) / (nitrogen + square / nitrogen)
    loss: Tensor = 8.686 * square * (classical + ratio**-2.5 * (by_oxygen + by_nitrogen))
    return loss


def propagation(frequency: Tensor, distance: Tensor, reference: float) -> Tensor:
    """A spherical wave through air: (reference / r) 10^(-alpha r / 20) e^(-j w r / c), complex.

    Args:
        distance: r [m]. reference: [m], the distance at which the level is 0 dB.

    The absorption is taken without its phase, which stays under a degree over the distances of a room.
    """
    loss = torch.exp(-math.log(10.0) / 20.0 * air_absorption(frequency) * distance)
    return torch.polar(reference / distance * loss, -2.0 * math.pi / SPEED_OF_SOUND * frequency * distance)


def first_order_pattern(
    frequency: Tensor, pattern: Tensor, cosine: Tensor, distance: Tensor, lowest: float = 10.0
) -> Tensor:
    """What a first-order microphone makes of a spherical wave: (1 - p) + p cos(a) (1 + c / (j w r)), complex.

    The pressure gradient of a spherical wave exceeds that of a plane one by 1 + 1 / (j k r) (Beranek, Acoustics, 1954,
    chapter 2; Eargle, The Microphone Book, 2004, chapter 3): the proximity effect. At 0 Hz it would be infinite; real
    ones are coupled by a capacitor: j w is here j w + 2 pi `lowest`.

    Args:
        pattern: p, 0 omnidirectional, 0.5 cardioid, 1 figure of eight.
        cosine: of the angle of incidence a, 1 on axis.
        distance: r [m]. lowest: [Hz].
    """
    scale = SPEED_OF_SOUND / (2.0 * math.pi * distance)
    power = frequency.square() + lowest**2
    gradient = torch.complex(1.0 + scale * lowest / power, -scale * frequency / power)
    return (1.0 - pattern) + pattern * cosine * gradient


def diffuse_sensitivity(pattern: Tensor) -> Tensor:
    """Root of the random energy efficiency of a first-order pattern, its mean square over the sphere:
    (1 - p)^2 + p^2 / 3 (Eargle 2004, chapter 5: 1 for omnidirectional, 1/3 for cardioid and figure of eight)."""
    return ((1.0 - pattern).square() + pattern.square() / 3.0).sqrt()


def capsule_loss(frequency: Tensor, radius: float, sine: Tensor) -> Tensor:
    """High frequencies lost off axis, where the phase differs across the diaphragm.

        1 / (1 + x^2 / 8),   x = k a sin(angle)

    A disc of radius a averages the wave to 2 J1(x) / x (Morse, Vibration and Sound, 1948, section 28). This is the same
    to second order, without its nulls, which no real capsule in its housing has.
    """
    size = 2.0 * math.pi / SPEED_OF_SOUND * radius * frequency * sine
    return 1.0 / (1.0 + size.square() / 8.0)


def floor_image(distance: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """The mirror image of a source in a floor, source and microphone at the same height over it.

    Args:
        distance, height: [m].

    Returns:
        the length of the reflected path sqrt(r^2 + (2 h)^2) [m], and the angle below the horizontal at which it
        arrives [rad].
    """
    return torch.hypot(distance, 2.0 * height), torch.atan2(2.0 * height, distance)
