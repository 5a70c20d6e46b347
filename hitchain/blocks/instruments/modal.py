"""Struck bars, bells, bowls and membranes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import modes, oscillators
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

REFERENCE = 10.0 ** (-14.0 / 20.0)
"""RMS of all modes together at the stroke, at a level of 0 dB and full velocity."""

AUDIBLE = 1.6
"""A stroke is followed for so many times the longest decay by 60 dB: to -96 dB."""

BARS = tuple((2 * n + 1) ** 2 for n in range(1, 9))
"""(2 n + 1)^2: a free bar's frequencies, to 0.5 % for n = 1 (3.0112 instead of 3) and exactly beyond."""

BESSEL_ZEROS = (
    *((0, 2.404826), (1, 3.831706), (2, 5.135622), (0, 5.520078), (3, 6.380162), (1, 7.015587), (4, 7.588342)),
    *((2, 8.417244), (0, 8.653728), (5, 8.771484), (3, 9.761023), (1, 10.173468), (6, 9.936110)),
)
"""(m, j): the zeros of the Bessel functions J_m, Abramowitz and Stegun, table 9.5: the modes of a round membrane."""


class Shape(NamedTuple):
    """What is struck: each mode's frequency to the note's, and how strongly a stroke at a place x excites it."""

    ratios: tuple[float, ...]
    strength: Callable[[Tensor], Tensor]


def _bar(count: int) -> Callable[[Tensor], Tensor]:
    """The modes of a free bar at x, 0 the end and 0.5 the middle: cos bx - sin bx + e^{-bx} +- e^{-b(1 - x)}, to 1 %.

    (N. H. Fletcher and T. D. Rossing, The Physics of Musical Instruments, 2.15; b = (n + 1/2) pi.)
    """

    def strength(places: Tensor) -> Tensor:
        number = torch.arange(1, count + 1, dtype=places.dtype, device=places.device)
        b, x = (number + 0.5) * math.pi, 0.5 * places[:, None]
        mirrored = torch.where(number % 2 == 1, 1.0, -1.0).to(places) * torch.exp(-b * (1.0 - x))
        return 0.5 * (torch.cos(b * x) - torch.sin(b * x) + torch.exp(-b * x) + mirrored)

    return strength


def _membrane(places: Tensor) -> Tensor:
    """J_m(j r) at the distance r from the middle, as its integral over half a turn (exact to rounding)."""
    order = torch.tensor([m for m, _ in BESSEL_ZEROS], dtype=places.dtype, device=places.device)
    zero = torch.tensor([j for _, j in BESSEL_ZEROS], dtype=places.dtype, device=places.device)
    angle = (torch.arange(64, dtype=places.dtype, device=places.device) + 0.5) * (math.pi / 64)
    reach = ((1.0 - places)[:, None] * zero)[:, :, None]
    return torch.cos(order[:, None] * angle - reach * torch.sin(angle)).mean(dim=-1)


def _rim(count: int) -> Callable[[Tensor], Tensor]:
    """A shell struck between its rim (0) and its shoulder (1): partials with nodal circles die first on the way up."""

    def strength(places: Tensor) -> Tensor:
        number = torch.arange(count, dtype=places.dtype, device=places.device)
        return torch.cos(places[:, None] * (0.5 * math.pi) * torch.sqrt(number + 0.5)) / torch.sqrt(1.0 + number)

    return strength


_BELL = (0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 2.662, 3.011, 4.166, 5.433, 6.796, 8.215)
_BOWL = (1.0, 2.77828, 5.18099, 8.16289, 11.66063, 15.63801, 19.99)
_XYLOPHONE = (1.0, 3.932, 9.538, 16.688, 24.566, 31.147)
_VIBRAPHONE = (1.0, 3.984, 10.668, 17.979, 23.679, 33.642)

SHAPES: Mapping[str, Shape] = {
    "bar": Shape((1.0, *(n / 9.0677 for n in BARS[1:])), _bar(len(BARS))),
    "xylophone": Shape(_XYLOPHONE, _bar(len(_XYLOPHONE))),
    "vibraphone": Shape(_VIBRAPHONE, _bar(len(_VIBRAPHONE))),
    "tubular_bell": Shape(tuple(n / 40.5 for n in (9.0677, *BARS[1:])), _bar(len(BARS))),
    "church_bell": Shape(_BELL, _rim(len(_BELL))),
    "bowl": Shape(_BOWL, _rim(len(_BOWL))),
    "membrane": Shape(tuple(j / BESSEL_ZEROS[0][1] for _, j in BESSEL_ZEROS), _membrane),
}
"""Free bar, tubular bell (its modes 4, 5 and 6 near 2:3:4 set the strike note), church bell and membrane after Fletcher
and Rossing, 2.15, 19.8, 21.3 and 3.6; xylophone and vibraphone (whose arches tune the second mode to two octaves) and
Tibetan bowl (180 mm) as measured, from the Csound manual's table of modal frequency ratios."""


@register("instruments/modal")
class Modal(Instrument):
    """Something struck, as a bank of decaying modes.

        y(t) = gain * damper(t) * sum over k of a[k] exp(-ln(1000) t / T[k]) sin(2 pi f r[k] t)
        a[k] = strength of mode k where it is struck * exp(-(f r[k] / brightness)^2 / 2)
        T[k] = decay * r[k]^-damping

    with the mode ratios r of the shape (published measurements and formulas, see `SHAPES`) and f the note's frequency
    over the size. A Gaussian spectrum is that of a felt mallet: the harder, the shorter the contact, the brighter. The
    power of a stroke does not depend on shape, place and brightness. A blend of shapes sounds as those shapes together.
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a stroke at full velocity"),
        Choice("shape", tuple(SHAPES), default="vibraphone", description="what is struck"),
        Parameter("size", 0.25, 4.0, default=1.0, scale="log", description="2 sounds an octave lower"),
        Parameter("key_tracking", 0.0, 1.0, default=1.0, description="0 every key sounds as C4, 1 as itself"),
        Parameter("strike", 0.0, 0.95, default=0.3, description="from the edge (0) to the middle"),
        Parameter("brightness", 200.0, 20000.0, default=2500.0, unit="Hz", scale="log", description="of the mallet"),
        Parameter("decay", 0.05, 20.0, default=3.0, unit="s", scale="log", description="to -60 dB, at a ratio of 1"),
        Parameter("damping", 0.0, 2.0, default=0.7, description="metal 0.3, wood 1.5: how soon higher modes die"),
        Parameter("release", 5.0, 10000.0, default=4000.0, unit="ms", scale="log", description="damper, after the key"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.85, description="0 all notes alike, 1 follows velocity"),
        Parameter(
            "velocity_to_brightness", 0.0, 4.0, default=2.0, unit="octaves", description="how dark soft ones are"
        ),
    )
    presets: ClassVar = {
        "xylophone": {"shape": "xylophone", "brightness": 2800.0, "decay": 0.9, "damping": 1.2, "strike": 0.85},
        "glockenspiel": {"shape": "bar", "size": 0.25, "brightness": 14000.0, "decay": 2.5, "damping": 0.4},
        "church bell": {"shape": "church_bell", "size": 2.0, "brightness": 4000.0, "decay": 12.0, "release": 10000.0},
        "hand drum": {
            "shape": "membrane",
            "key_tracking": 0.3,
            "brightness": 900.0,
            "decay": 0.5,
            "strike": 0.5,
            "release": 500.0,
        },
    }

    def tail(self, settings: Settings) -> float:
        return float(_tail(settings).max())

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        weights = settings["shape"]
        needed = weights.requires_grad | (weights.detach() != 0.0).any(dim=0)
        shapes = {index: SHAPES[name] for index, name in enumerate(SHAPES) if bool(needed[index])}

        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings, shapes)

        return render(notes, self.sample_rate, _tail(settings), voice, settings["level"].dtype, ragged=True)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings, shapes: Mapping[int, Shape]) -> Tensor:
        """(voices, span)."""
        knob = {name: voices.of(settings[name]) for name in settings if name in self._knobs}
        dtype = knob["level"].dtype
        velocity = voices.of(notes.velocity).to(dtype)
        pitch = 60.0 + knob["key_tracking"].double() * (voices.of(notes.pitch).double() - 60.0)
        frequency = midi_to_hz(pitch) / knob["size"].double()
        corner = knob["brightness"] * torch.exp2(knob["velocity_to_brightness"] * (velocity - 1.0))
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(dtype) * REFERENCE
        amplitudes, rates = [], []
        for index, shape in shapes.items():
            ratio = torch.tensor(shape.ratios, dtype=torch.float64, device=frequency.device)
            hertz = frequency[:, None] * ratio
            amplitude = self._amplitudes(shape, hertz, knob["strike"].double(), corner.double())
            amplitudes.append(amplitude * settings["shape"][voices.row, index, None].double())
            decay = modes.decay_rate(knob["decay"].double())[:, None] * ratio ** knob["damping"].double()[:, None]
            rates.append(torch.complex(-decay, 2.0 * math.pi * hertz))
        amplitude = torch.cat(amplitudes, dim=1) * gain.double()[:, None]
        struck = torch.complex(torch.zeros_like(amplitude), -amplitude)
        since = voices.since(notes.onset)
        audio = modes.ring(since, struck, torch.cat(rates, dim=1), voices, dtype)
        return audio * modes.damper(since, voices.of(notes.duration), knob["release"] / 1000.0, voices)

    @property
    def _knobs(self) -> set[str]:
        return {parameter.name for parameter in self.parameters if isinstance(parameter, Parameter)}

    def _amplitudes(self, shape: Shape, hertz: Tensor, strike: Tensor, corner: Tensor) -> Tensor:
        """Of each mode, together of unit RMS: (voices, modes). What is above the band is left out."""
        felt = torch.exp(-0.5 * (hertz / corner[:, None]).square())
        heard = shape.strength(strike) * oscillators.below_nyquist(hertz, self.sample_rate)
        amplitude = heard * (felt + 1e-3)  # a mallet of any softness is heard
        return amplitude * torch.sqrt(2.0 / (1e-8 + amplitude.square().sum(dim=1, keepdim=True)))


def _tail(settings: Settings) -> Tensor:
    """[s] after the key is let go until the damper has closed, or the lowest mode of any shape has died: (batch,)."""
    lowest = min(min(shape.ratios) for shape in SHAPES.values())
    longest = settings["decay"] * lowest ** -settings["damping"]
    return torch.minimum(settings["release"] / 1000.0, AUDIBLE * longest).detach()
