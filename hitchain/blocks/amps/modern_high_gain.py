"""A modern high-gain amplifier."""

from __future__ import annotations

from typing import ClassVar

from hitchain.blocks.amps import circuit
from hitchain.blocks.amps.circuit import Circuit, CircuitAmplifier, Rational, Stage
from hitchain.blocks.dsp import circuits
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

STACK = circuits.ToneStack(250e3, 250e3, 25e3, 47e3, 500e-12, 20e-9, 20e-9)
"""As commonly given for the Mesa Dual Rectifier (1992), not checked against its schematic:
treble and bass 250 k, middle 25 k, slope 47 k, 500 pF, 20 nF, 20 nF."""

RESONANCE = 90.0
"""Where the loudspeaker resonates and the feedback lets it [Hz]."""


@register("amps/modern_high_gain")
class ModernHighGain(CircuitAmplifier):
    """A modern American head: four triodes in a row, one of them very cold, tight bass in front, two or four 6L6.

    After the Mesa Dual Rectifier and its kin (SLO-100, 5150): first cathode 1.8 k and 1 uF, couplings of 22 nF and
    1 nF, a cold clipper with 39 k in its cathode, cathode follower and tone stack. `tight` is the size of the coupling
    capacitors in front. `depth` lets the loudspeaker's resonance through the feedback.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run; by default what takes them to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("gain", 10.0, 80.0, default=54.0, unit="dB", description="preamplifier gain"),
        Parameter(
            "tight", 40.0, 600.0, default=150.0, unit="Hz", scale="log", description="bass cut before the valves"
        ),
        circuit.BIAS,
        circuit.BASS,
        circuit.MIDDLE,
        circuit.TREBLE,
        circuit.PRESENCE,
        Parameter("depth", 0.0, 1.0, default=0.4, description="lift at the loudspeaker's resonance"),
        circuit.master(2.0),
        circuit.SAG,
        circuit.LEVEL,
    )
    presets: ClassVar = {
        "rhythm": {"gain": 52.0, "tight": 180.0, "middle": 0.4, "depth": 0.5},
        "lead": {"gain": 64.0, "tight": 120.0, "middle": 0.7, "treble": 0.45},
        "djent": {"gain": 46.0, "tight": 350.0, "presence": 0.6, "middle": 0.55},
    }
    circuit = Circuit(
        before=(
            Stage(0.0, 0.25, 0.15, low=12.0),
            Stage(-2.0, 0.35, 0.25, low=30.0, high=9000.0),
            Stage(0.0, 0.2, 0.9, low=15.0, high=9000.0, upper=0.6, lower=1.4),
            Stage(0.0, 0.2, 0.2, low=7.0, high=9000.0),
        ),
        after=(),
        transformer=(30.0, 11_000.0),
        presence=(2500.0, 2.0),
        supply=(0.02, 0.1),
    )

    def _input(self, settings: Settings) -> Rational:
        return circuit.cascade(
            circuit.high_pass(settings["tight"], settings["gain"]), circuit.cathode(1.8e3, 1e-6, settings["gain"])
        )

    def _tone(self, settings: Settings) -> Rational:
        return circuits.tone_stack(settings["bass"], settings["middle"], settings["treble"], STACK)

    def _voicing(self, settings: Settings) -> Rational:
        presence = circuit.shelf(settings["presence"], *self.circuit.presence)
        lift = 1.0 + 1.5 * settings["depth"]
        return circuit.cascade(presence, circuit.resonant(RESONANCE, 1.0, lift))
