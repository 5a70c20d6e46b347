"""Sound on its way from a small source to a microphone: distance, air, floor, capsule. Everything in frequency.

Shapes, unless given otherwise: frequencies (bins,), what belongs to a batch item (batch, 1), results (batch, bins).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.delays import delay_phasors
from hitchain.blocks.dsp.fft import frequencies
from hitchain.blocks.dsp.threads import over_rows

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


class Waves(NamedTuple):
    """Spherical waves that reach a microphone by several paths, each (batch, paths) but the pattern, (batch, 1).

    pattern: of the microphone, as in `first_order_pattern`. angle: of incidence [rad]. distance: r [m].
    amplitude: at 1 m.
    """

    pattern: Tensor
    angle: Tensor
    distance: Tensor
    amplitude: Tensor


class Capsules(NamedTuple):
    """Kinds of microphone: curves complex (types, bins), on axis, and the radii of their diaphragms [m]."""

    curves: Tensor
    radii: tuple[float, ...]


def heard_waves(
    waves: Waves,
    weights: Tensor,
    diffuse: Tensor,
    capsules: Capsules,
    n_fft: int,
    sample_rate: int,
    fused: bool | None = None,
) -> Tensor:
    """What a blend of microphones makes of several waves and of diffuse sound, at the bins of a real FFT.

        sum over types of weight curve (diffuse + sum over paths of amplitude propagation pattern capsule_loss)

    Args:
        weights: (batch, types). diffuse: complex (batch, bins).
        fused: the compiled kernel instead of tensor operations; by default on CPU.

    Returns:
        Complex (batch, bins). Differentiable (once, if fused) in waves, weights and the diffuse sound.
    """
    if diffuse.device.type == "cpu" if fused is None else fused:
        result: Tensor = _HeardWaves.apply(  # type: ignore[no-untyped-call]
            capsules, n_fft, sample_rate, weights, diffuse, *_amplitudes(waves)
        )
        return result
    frequency, total = frequencies(n_fft, sample_rate, like=weights), torch.zeros_like(diffuse)
    paths = range(waves.angle.shape[-1])
    angles, distances, amplitudes = ([v[:, path, None] for path in paths] for v in waves[1:])
    arriving = [
        amplitude
        * propagation(frequency, distance, 1.0)
        * first_order_pattern(frequency, waves.pattern, torch.cos(angle), distance)
        for angle, distance, amplitude in zip(angles, distances, amplitudes, strict=True)
    ]
    for index, radius in enumerate(capsules.radii):
        heard = diffuse
        for wave, angle in zip(arriving, angles, strict=True):
            heard = heard + wave * capsule_loss(frequency, radius, torch.sin(angle))
        total = total + weights[:, index, None] * capsules.curves[index] * heard
    return total


def _amplitudes(waves: Waves) -> tuple[Tensor, ...]:
    """For the kernel, each (batch, paths): flat, close, distance and across, with which a wave is

        W = (flat + close q) e^{-r (loss + j w / c)} / (1 + b f^2 across),   q = (f0 - j f) / (f^2 + f0^2)

    flat is what the capsule makes of a plane wave, close the proximity effect, f0 its lowest frequency.
    """
    gain, gradient = waves.amplitude / waves.distance, waves.pattern * torch.cos(waves.angle)
    close = gradient * SPEED_OF_SOUND / (2.0 * math.pi * waves.distance)
    return gain * (1.0 - waves.pattern + gradient), gain * close, waves.distance, torch.sin(waves.angle).square()


class _HeardWaves(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, capsules: Capsules, n_fft: int, sample_rate: int, weights: Tensor, diffuse: Tensor, *waves: Tensor
    ) -> Tensor:
        from hitchain.blocks.dsp import acoustics_kernels as kernels

        ctx.save_for_backward(weights, diffuse, *waves)
        ctx.given = (capsules, n_fft, sample_rate)
        arrays = _arrays(*ctx.given, weights, diffuse, *waves)
        response = torch.empty(diffuse.shape, dtype=diffuse.dtype)
        over_rows(kernels.heard_forward, len(weights) * arrays[4].shape[-1], *arrays, response.numpy())
        return response

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        from hitchain.blocks.dsp import acoustics_kernels as kernels

        weights, diffuse, *waves = ctx.saved_tensors
        _, n_fft, sample_rate = ctx.given
        arrays = _arrays(*ctx.given, weights, diffuse, *waves)
        batch, paths = waves[0].shape
        parts = torch.empty(batch * arrays[4].shape[-1], 4 * paths + weights.shape[-1], dtype=torch.float64)
        grad_diffuse = torch.empty(diffuse.shape, dtype=diffuse.dtype)
        step = 2.0 * math.pi / SPEED_OF_SOUND * sample_rate / n_fft
        incoming = grad.resolve_conj().contiguous().numpy()
        over_rows(kernels.heard_backward, len(parts), *arrays, incoming, step, grad_diffuse.numpy(), parts.numpy())
        sums = parts.view(batch, -1, parts.shape[-1]).sum(dim=1)
        grads = [sums[:, paths * n : paths * (n + 1)].to(waves[n].dtype) for n in range(4)]
        return None, None, None, sums[:, 4 * paths :].to(weights.dtype), grad_diffuse, *grads


def _arrays(
    capsules: Capsules, n_fft: int, sample_rate: int, weights: Tensor, diffuse: Tensor, *waves: Tensor
) -> list[Any]:
    """The arrays that both kernels take."""
    from hitchain.blocks.dsp import acoustics_kernels as kernels

    real = diffuse.real.dtype
    late = waves[2].double() * (sample_rate / SPEED_OF_SOUND)
    near, far = delay_phasors(late, n_fft, kernels.BLOCK)
    phases = torch.view_as_real(near).transpose(-1, -2).to(real)
    curves = torch.view_as_real(capsules.curves).transpose(-1, -2)
    sizes = torch.tensor(_sizes(capsules), dtype=torch.float64)
    given = (torch.stack(waves, dim=1).double(), weights.double(), diffuse, phases, far)
    values = (*given, *_air(n_fft, sample_rate, real, diffuse.device), curves, sizes)
    return [value.detach().resolve_conj().contiguous().numpy() for value in values]


def _sizes(capsules: Capsules) -> list[float]:
    """b of `capsule_loss` = 1 / (1 + b f^2 sine^2) [s^2]."""
    return [(2.0 * math.pi / SPEED_OF_SOUND * radius) ** 2 / 8.0 for radius in capsules.radii]


@lru_cache(maxsize=8)
def _air(
    n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device, lowest: float = 10.0
) -> tuple[Tensor, Tensor, Tensor]:
    """f^2 (bins,), the air's loss [nepers/m] (bins,) and q (2, bins). Kept; not to be written to."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        hertz = frequencies(n_fft, sample_rate, torch.zeros((), dtype=torch.float64, device=device))
        closeness = torch.stack([torch.full_like(hertz, lowest), -hertz]) / (hertz.square() + lowest**2)
        losses = math.log(10.0) / 20.0 * air_absorption(hertz)
        return hertz.square().to(dtype), losses.to(dtype), closeness.to(dtype)
