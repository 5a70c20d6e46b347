"""The Dallas Arbiter Fuzz Face."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.transistors import Fixed, two_transistors
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

FUZZ_POT, CONTACT = 1e3, 1.0
"""The fuzz pot, and what is left of either half at its ends [ohm]."""

OUTPUT_RESISTOR = 470.0
"""Between the supply and the bias resistor; over it the output is taken [ohm]."""

CIRCUIT = Fixed(
    input_capacitor=2.2e-6,
    bypass_capacitor=20e-6,
    collector_base=100e-12,
    feedback=1.0 / 100e3,
    load=1.0 / 33e3,
    supply=9.0,
)

COUPLING = 1.0 / (2.0 * math.pi * (500e3 + OUTPUT_RESISTOR) * 10e-9)
"""Corner of the 10 nF into the volume pot [Hz]."""

PICKUP, GUITAR_POT = 8e3, 500e3
"""The resistance of a humbucker and the guitar's own volume pot [ohm]."""

TAPER = 28.0
"""The guitar's pot is logarithmic: half way it has 16 % of its resistance."""

GERMANIUM = (1.976e-5, 70.0, 120.0, 10.0)
SILICON = (2e-14, 330.0, 330.0, 5.0)
"""Saturation current [A], forward gain of the first and the second transistor, reverse gain."""

TAIL = 0.06
"""Seconds in which the output coupling dies away."""

MEMORY = 1.0
"""Seconds in which the capacitors of the circuit come back to rest."""


@register("effects/fuzz_face")
class FuzzFace(Block):
    """The Dallas Arbiter Fuzz Face by its circuit, two transistors solved together. Full scale is 1 V.

        pickup and guitar volume - 2.2 uF - base 1;    33 k at collector 1 = base 2;    100 k from emitter 2 to base 1
        bias + 470 ohm at collector 2;    fuzz pot of 1 k at emitter 2, its wiper to ground over 20 uF
        y = -level highpass((v2 - v2 at rest) 470 / (bias + 470)),      31.8 Hz: 10 nF into the volume pot of 500 k

    solved at a high rate with Ebers and Moll's transistors (`transistors`). Values: ElectroSmash, "Fuzz Face analysis";
    R. G. Keen, "The technology of the Fuzz Face" (1998). Germanium is an AC128 with the saturation current and reverse
    gain measured by B. Holmes, M. Holters, M. van Walstijn, "Comparison of germanium bipolar junction transistor models
    for real-time circuit simulation" (DAFx-17) and the forward gains that Keen asks for, 70 and 120; silicon is near a
    BC108B. The stock bias resistor is 8.2 kohm; leaking germanium needs about 20 for half the supply at the output.
    The guitar's volume divides the signal and stands in series with the pedal's low input impedance: turned down, it
    cleans up. Both transistors have 100 pF from collector to base, as Holmes's. Left out: the pickup's inductance, what
    the volume pot draws (0.1 %), the battery's sag, and that gain falls at high currents.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the circuit is solved; by default what takes it to 320 kHz.
    """

    parameters = (
        Parameter("guitar_volume", 0.0, 1.0, 1.0, description="position of the guitar's own volume pot"),
        Parameter("fuzz", 0.0, 1.0, 0.8, description="position of the fuzz pot"),
        Parameter(
            "bias", 4.0, 40.0, 20.0, "kohm", "log", description="resistor at the second transistor: open to gated"
        ),
        Choice("transistors", ("germanium", "silicon"), "germanium", description="what both transistors are made of"),
        Parameter("level", -24.0, 24.0, 6.0, "dB", varying=True, description="output level"),
    )
    presets: ClassVar = {
        "sixties lead": {"fuzz": 0.9, "bias": 20.0, "transistors": "germanium", "level": 6.0},
        "rolled back": {"guitar_volume": 0.45, "fuzz": 1.0, "bias": 18.0, "transistors": "germanium", "level": 9.0},
        "seventies silicon": {"fuzz": 1.0, "bias": 8.2, "transistors": "silicon", "level": 0.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or min(16, 2 * distortion.default_oversampling(sample_rate))

    def tail(self, settings: Settings) -> float:
        return TAIL + MEMORY

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        share, series = guitar(settings["guitar_volume"].double())
        values = circuit_values(settings, series)
        rate = self.sample_rate * self.oversampling
        entering = -share.to(audio.dtype)[:, None, None]  # PNP transistors: everything is the other way up
        leaving = (-OUTPUT_RESISTOR * values[:, 1]).to(audio.dtype)[:, None, None]
        fuzzed = distortion.distort(
            audio,
            lambda volts: leaving * two_transistors(entering * volts, values, CIRCUIT, rate),
            self.sample_rate,
            self.oversampling,
            after=lambda hertz: distortion.blocking(hertz, COUPLING),
            tail=TAIL,
            memory=MEMORY,
        )
        return fuzzed * over_audio(to_gain(settings["level"]), audio.shape[-1])


def guitar(position: Tensor) -> tuple[Tensor, Tensor]:
    """The guitar as a source: its share of the pickup's voltage, and its resistance [ohm]; (batch,) each."""
    below = GUITAR_POT * (torch.exp(math.log(TAPER) * position) - 1.0) / (TAPER - 1.0)
    total = GUITAR_POT + PICKUP
    return below / total, CONTACT + below * (total - below) / total


def circuit_values(settings: Settings, series: Tensor) -> Tensor:
    """The columns that `two_transistors` takes. Between the two materials, saturation and gains go in equal ratios."""
    fuzz = settings["fuzz"].double()
    collector = 1.0 / (1e3 * settings["bias"].double() + OUTPUT_RESISTOR)
    upper, lower = (1.0 / (FUZZ_POT * part + CONTACT) for part in (1.0 - fuzz, fuzz))
    kinds = torch.tensor((GERMANIUM, SILICON), dtype=torch.float64, device=fuzz.device).log()
    saturation, *gains = torch.exp(settings["transistors"].double() @ kinds).unbind(-1)
    return torch.stack((series, collector, upper, lower, saturation, *(1.0 / gain for gain in gains)), dim=-1)
