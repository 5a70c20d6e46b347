"""A microphone in a room, in front of a small source."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import acoustics, fft
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


class _Capsule(NamedTuple):
    """A kind of microphone: second-order sections [Hz], Q, [dB], and its diaphragm's radius [m].

    Drawn from what data sheets of such microphones have in common, not after any one of them.
    """

    low_cut: tuple[float, float]
    presence: tuple[float, float, float]
    high_cut: tuple[float, float]
    radius: float


_CAPSULES = {
    "dynamic": _Capsule((80.0, 0.6), (5500.0, 1.2, 6.0), (14000.0, 0.8), 0.011),  # moving coil: bass falls, presence
    "condenser": _Capsule((20.0, 0.7), (10000.0, 0.9, 3.0), (21000.0, 0.7), 0.0127),  # one-inch: wide, airy
    "ribbon": _Capsule((28.0, 0.7), (300.0, 0.4, 1.0), (10000.0, 0.6), 0.006),  # warm, soft above 8 kHz
}

_REFERENCE = 0.3  # m: where the level is 0 dB
_SENSITIVITY_HZ = 1000.0  # where every type has 0 dB on axis
_PRE_DELAY = 0.006  # s from the direct sound to the diffuse one
_LONGEST_DECAY = 1.0  # s
_RINGING = 0.3  # s in which the lowest resonances decay by 90 dB
_WALLS_HZ = 4000.0  # above it walls and air take more of the diffuse sound
_ROOM_SEED = 20
_ALIASING_EDGE = 0.45  # of the sample rate
_ALIASING_ORDER = 6


@register("mics/microphone")
class Microphone(LinearBlock):
    """One microphone before a small source, over a reflecting floor, in a diffuse room.

        y = type * (wave(r, a) + floor * wave(r', a + e) + room * diffuse)
        wave(r, a) = (r0 / r) 10^(-alpha r / 20) e^(-j w r / c) ((1 - p) + p cos(a) (1 + c / (j w r))) capsule(a)

    The reflected path r' = sqrt(r^2 + (2 height)^2) comes in at an angle e = atan(2 height / r) below the axis (image
    source; Allen and Berkley 1979); the microphone is tilted up by `angle`. Level is 0 dB at r0 = 30 cm; the sound is
    late by r / c, as it is. Formulas and sources: `hitchain.blocks.dsp.acoustics`.

    The diffuse sound is a fixed noise that decays by 60 dB in `decay` (Moorer 1979). Its energy is everywhere the same
    (Sabine): `room` = 1 is as much as an omnidirectional microphone gets of the direct sound at r0; others get
    (1 - p)^2 + p^2 / 3 of it. So moving away brings the room up.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Choice("type", tuple(_CAPSULES), default="condenser", description="response curve and size of the capsule"),
        Parameter("pattern", 0.0, 1.0, default=0.5, description="0 omnidirectional, 0.5 cardioid, 1 figure of eight"),
        Parameter("distance", 5.0, 300.0, default=30.0, unit="cm", scale="log", description="from the source"),
        Parameter("angle", 0.0, 90.0, default=10.0, unit="degrees", description="tilt off the source"),
        Parameter("height", 10.0, 200.0, default=100.0, unit="cm", scale="log", description="of both over the floor"),
        Parameter("floor", 0.0, 0.95, default=0.3, description="reflection coefficient; 0.1 carpet, 0.9 concrete"),
        Parameter("room", 0.0, 1.0, default=0.05, description="amount of diffuse room sound"),
        Parameter("decay", 0.1, _LONGEST_DECAY, default=0.3, unit="s", scale="log", description="of the room"),
    )

    presets: ClassVar = {
        "close": {"type": "dynamic", "distance": 8.0, "angle": 15.0, "floor": 0.1, "room": 0.02},
        "room": {"pattern": 0.2, "distance": 150.0, "angle": 0.0, "floor": 0.4, "room": 0.25, "decay": 0.5},
        "vintage": {"type": "ribbon", "pattern": 1.0, "distance": 40.0, "floor": 0.3, "room": 0.08},
    }

    def __init__(self, sample_rate: int = 44100) -> None:
        super().__init__(sample_rate)
        samples = round(1.5 * _LONGEST_DECAY * sample_rate)
        generator = torch.Generator().manual_seed(_ROOM_SEED)
        self.noise: Tensor
        self.register_buffer("noise", torch.randn(samples, generator=generator, dtype=torch.float64), persistent=False)

    def tail(self, settings: Settings) -> float:
        distance, height = settings["distance"].detach() / 100.0, settings["height"].detach() / 100.0
        late = float(acoustics.floor_image(distance, height)[0].max()) / acoustics.SPEED_OF_SOUND
        diffuse = _PRE_DELAY + 1.5 * float(settings["decay"].detach().max())
        return math.ceil(10.0 * (late + max(_RINGING, diffuse))) / 10.0  # few lengths of transform: curves are kept

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        pattern, angle = settings["pattern"][:, None], torch.deg2rad(settings["angle"])[:, None]
        distance, height = settings["distance"][:, None] / 100.0, settings["height"][:, None] / 100.0
        reflected, elevation = acoustics.floor_image(distance, height)
        amplitude = _REFERENCE * torch.cat([torch.ones_like(distance), settings["floor"][:, None]], dim=-1)
        angles, distances = torch.cat([angle, angle + elevation], dim=-1), torch.cat([distance, reflected], dim=-1)
        waves = acoustics.Waves(pattern, angles, distances, amplitude)
        capsules = _capsules(n_fft, self.sample_rate, pattern.dtype, pattern.device)
        diffuse = self._diffuse(settings, n_fft)
        return acoustics.heard_waves(waves, settings["type"], diffuse, capsules, n_fft, self.sample_rate)[:, None]

    def _diffuse(self, settings: Settings, n_fft: int) -> Tensor:
        """Decaying noise of the energy `room`^2, through the walls' low-pass and the pattern, late by the pre-delay."""
        room, decay = settings["room"][:, None], settings["decay"][:, None]
        noise, age = self._noise(n_fft, room)
        step = math.log(1000.0) / (decay * self.sample_rate)  # nepers a sample: 60 dB in `decay`
        level = torch.sqrt(-torch.expm1(-2.0 * step))  # the squares of the falling factor sum to 1 / (1 - e^(-2 step))
        gain = room * level * acoustics.diffuse_sensitivity(settings["pattern"][:, None])
        spectrum = fft.rfft(gain * noise * torch.exp(-step * age), n_fft)
        return spectrum * _walls(n_fft, self.sample_rate, spectrum.dtype, spectrum.device)

    def _noise(self, n_fft: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """The noise behind its pre-delay, at most n_fft of it, and its age [samples]."""
        late = round(_PRE_DELAY * self.sample_rate)
        samples = max(0, min(self.noise.shape[0], n_fft - late))
        age = torch.arange(samples, dtype=like.dtype, device=like.device)
        noise = self.noise[:samples].to(like)
        return torch.nn.functional.pad(noise, (late, 0)), torch.nn.functional.pad(age, (late, 0))


@lru_cache(maxsize=8)
def _walls(n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The walls' low-pass on the diffuse sound: complex (bins,)."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        frequency = fft.frequencies(n_fft, sample_rate, like=torch.zeros((), dtype=torch.float64, device=device))
        return (1.0 / torch.complex(torch.ones_like(frequency), frequency / _WALLS_HZ)).to(dtype)


@lru_cache(maxsize=8)
def _capsules(n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> acoustics.Capsules:
    with torch.inference_mode(False):
        curves = torch.stack([_curve(name, n_fft, sample_rate, dtype, device) for name in _CAPSULES])
        return acoustics.Capsules(curves, tuple(capsule.radius for capsule in _CAPSULES.values()))


def _curve(name: str, n_fft: int, sample_rate: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A type's response at the bins of a real FFT: complex (bins,), 0 dB at 1 kHz.

    Analogue sections at their true frequencies, then the converter's anti-aliasing filter: without it, what does not
    fall toward the Nyquist frequency would ring through the whole transform, and before its time.
    """
    frequency = fft.frequencies(n_fft, sample_rate, like=torch.zeros((), dtype=torch.float64, device=device))
    curve = capsule_response(name, frequency) * _anti_aliasing(frequency / sample_rate)
    return curve.to(dtype.to_complex())


def _anti_aliasing(frequency: Tensor) -> Tensor:
    """A Butterworth low-pass at 0.45 of the rate by the bilinear transform: causal, and 0 at the Nyquist frequency.

    Product over k of 1 / (s^2 + 2 s sin((2 k - 1) pi / (2 order)) + 1), s = j tan(pi f) / tan(0.45 pi).
    """
    warped = torch.tan(math.pi * frequency) / math.tan(math.pi * _ALIASING_EDGE)
    response = torch.ones_like(frequency, dtype=torch.complex128)
    for k in range(1, _ALIASING_ORDER // 2 + 1):
        damping = 2.0 * math.sin((2 * k - 1) * math.pi / (2 * _ALIASING_ORDER))
        response = response / torch.complex(1.0 - warped.square(), damping * warped)
    return response


def capsule_response(name: str, frequency: Tensor) -> Tensor:
    """The on-axis response of a type in the far field, complex, the shape of `frequency` [Hz].

    A high-pass s^2 / (s^2 + s / Q + 1), a peak (s^2 + s A / Q + 1) / (s^2 + s / (A Q) + 1), A = 10^(dB / 40), and a
    low-pass 1 / (s^2 + s / Q + 1), with s = j f / corner; divided by its magnitude at 1 kHz.
    """
    capsule = _CAPSULES[name]
    reference = torch.full((1,), _SENSITIVITY_HZ, dtype=frequency.dtype, device=frequency.device)
    return _sections(capsule, frequency) / _sections(capsule, reference).abs()


def _sections(capsule: _Capsule, frequency: Tensor) -> Tensor:
    def quadratic(corner: float, damping: float) -> Tensor:
        ratio = frequency / corner
        return torch.complex(1.0 - ratio.square(), damping * ratio)

    (low, low_q), (peak, peak_q, decibels), (high, high_q) = capsule[:3]
    amplitude = 10.0 ** (decibels / 40.0)
    high_pass = -(frequency / low).square() / quadratic(low, 1.0 / low_q)
    presence = quadratic(peak, amplitude / peak_q) / quadratic(peak, 1.0 / (amplitude * peak_q))
    return high_pass * presence / quadratic(high, 1.0 / high_q)
