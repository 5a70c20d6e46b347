"""A chiming British class A amplifier."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hitchain.blocks.amps import circuit
from hitchain.blocks.amps.circuit import Circuit, CircuitAmplifier, Rational, Stage
from hitchain.blocks.dsp import nodal
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

VOLUME, BRIGHT = 500e3, 100e-12
CUT, CUT_CAPACITOR, SPLITTER = 250e3, 4.7e-9, 80e3
"""The cut control between the phase splitter's outputs [ohm, F], and what those present [ohm]."""


def top_boost(bass: Tensor, treble: Tensor) -> Rational:
    """The Top Boost tone stack, knob positions (batch,): 50 pF and 1 M treble, 100 k slope, two 22 nF around the 1 M
    bass control, whose wiper holds the treble control's lower end, and 10 k to ground."""
    source, ground = nodal.SOURCE, nodal.GROUND
    top, out, wiper, upper, lower, slope = 1, 2, 3, 4, 5, 6
    resistors = [
        *nodal.potentiometer(top, out, wiper, 1e6, treble),
        *nodal.potentiometer(upper, wiper, lower, 1e6, 1.0 - bass),
        (source, slope, 100e3),
        (lower, ground, 10e3),
    ]
    capacitors = [(source, top, 50e-12), (slope, upper, 22e-9), (slope, lower, 22e-9)]
    return nodal.transfer(6, out, resistors, capacitors, bass)


@register("amps/british_class_a")
class BritishClassA(CircuitAmplifier):
    """A British combo with four EL84 in class A, no negative feedback, and a tone control that only cuts.

    After the Vox AC30 with Top Boost (1964): triode, volume with a bright capacitor, triode with its cathode follower,
    the Top Boost tone stack, phase splitter. `cut` is the network of 4.7 nF and 250 k between the splitter's outputs:
    (1 + s R C) / (1 + s (R + 80 k) C), R = 250 k (1 - cut). Without feedback the power stage bends early.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run; by default what takes them to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("gain", 0.0, 44.0, default=22.0, unit="dB", description="volume: chime to full drive"),
        circuit.BIAS,
        circuit.BASS,
        circuit.TREBLE,
        Parameter("cut", 0.0, 1.0, default=0.3, description="takes treble off in front of the power valves"),
        circuit.master(6.0),
        circuit.SAG,
        circuit.LEVEL,
    )
    presets: ClassVar = {
        "chime": {"gain": 16.0, "treble": 0.65, "cut": 0.15, "master": 4.0},
        "jangle on the edge": {"gain": 27.0, "treble": 0.6, "master": 9.0},
        "full up": {"gain": 40.0, "cut": 0.5, "master": 16.0, "sag": 0.7},
    }
    circuit = Circuit(
        before=(Stage(4.0, 0.3, 0.15, low=7.0), Stage(0.0, 0.7, 0.3, low=3.0, high=14_000.0)),
        after=(),
        transformer=(35.0, 14_000.0),
        supply=(0.04, 0.2),
    )

    def _input(self, settings: Settings) -> Rational:
        position = 10.0 ** ((settings["gain"] - 44.0) / 20.0)
        return circuit.cascade(circuit.high_pass(25.0, settings["gain"]), circuit.bright(position, VOLUME, BRIGHT))

    def _tone(self, settings: Settings) -> Rational:
        time = 1e3 * CUT * CUT_CAPACITOR * (1.0 - settings["cut"])
        cut = circuit.first_order(1.0, time, 1.0, time + 1e3 * SPLITTER * CUT_CAPACITOR, settings["cut"])
        return circuit.cascade(top_boost(settings["bass"], settings["treble"]), cut)

    def _voicing(self, settings: Settings) -> Rational:
        return circuit.first_order(1.0, 0.0, 1.0, 0.0, settings["level"])  # no feedback, no presence
