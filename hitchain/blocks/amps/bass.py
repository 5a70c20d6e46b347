"""A bass amplifier."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.amps import circuit
from hitchain.blocks.amps.circuit import Circuit, CircuitAmplifier, Rational, Stage
from hitchain.blocks.dsp import nodal
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

MIDS = {"220 Hz": 220.0, "800 Hz": 800.0, "3000 Hz": 3000.0}
"""Where the middle control's inductor and capacitor resonate, by the switch."""

TAPER = 2.0 * math.log(10.0)
"""Of audio potentiometers: a tenth in the middle, where the network is flat."""


def james(bass: Tensor, treble: Tensor) -> Rational:
    """The passive tone network of E. J. James ("Simple tone control circuit", Wireless World, February 1949), knob
    positions (batch,): boost and cut of lows by 1 M over 10 k with 2.2 nF and 22 nF, of highs by 1 M between 220 pF and
    2.2 nF."""
    source, ground = nodal.SOURCE, nodal.GROUND
    top, wiper, bottom, upper, lower, out = 1, 2, 3, 4, 5, 6
    low, high = (torch.expm1(TAPER * position) / math.expm1(TAPER) for position in (bass, treble))
    resistors = [
        (source, top, 100e3),
        *nodal.potentiometer(top, wiper, bottom, 1e6, low),
        (bottom, ground, 10e3),
        (wiper, out, 100e3),
        *nodal.potentiometer(upper, out, lower, 1e6, high),
    ]
    capacitors = [(top, wiper, 2.2e-9), (wiper, bottom, 22e-9), (source, upper, 220e-12), (lower, ground, 2.2e-9)]
    return nodal.transfer(6, out, resistors, capacitors, bass)


@register("amps/bass")
class Bass(CircuitAmplifier):
    """A large bass head: two triodes, James tone controls, a middle control with an inductor, a triode, six 6550.

    After the Ampeg SVT (1969): passive bass and treble, and a resonant circuit for the middle whose frequency is
    switched (220 Hz, 800 Hz, 3 kHz; a blend of positions stands between them). `ultra_high` is the treble lift of that
    name. The James network has textbook values, not the SVT's; the power stage is stiff, with much headroom.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run; by default what takes them to 160 kHz, at most 8.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("gain", 0.0, 40.0, default=12.0, unit="dB", description="volume: clean to growling"),
        circuit.BIAS,
        circuit.BASS,
        Parameter("middle", -10.0, 10.0, default=2.0, unit="dB", description="lift or cut at the switched frequency"),
        Choice("frequency", tuple(MIDS), default="800 Hz", description="the middle control's switch"),
        circuit.TREBLE,
        Parameter("ultra_high", 0.0, 9.0, default=0.0, unit="dB", description="lift above 2 kHz"),
        circuit.master(0.0),
        circuit.SAG,
        circuit.LEVEL,
    )
    presets: ClassVar = {
        "round": {"gain": 8.0, "frequency": "220 Hz", "middle": 3.0, "treble": 0.4},
        "growl": {"gain": 28.0, "frequency": "800 Hz", "middle": 5.0, "master": 8.0},
        "pick": {"gain": 20.0, "frequency": "3000 Hz", "middle": 6.0, "treble": 0.65, "ultra_high": 3.0},
    }
    circuit = Circuit(
        before=(Stage(0.0, 0.5, 0.15, low=3.0), Stage(0.0, 0.5, 0.2, low=3.0, high=14_000.0)),
        after=(Stage(0.0, 0.0, 0.15, low=3.0),),
        transformer=(18.0, 14_000.0),
        supply=(0.05, 0.2),
    )

    def _input(self, settings: Settings) -> Rational:
        return circuit.high_pass(12.0, settings["gain"])

    def _tone(self, settings: Settings) -> Rational:
        logs = torch.log(torch.tensor(list(MIDS.values()), dtype=torch.float64)).to(settings["frequency"])
        hertz = torch.exp(settings["frequency"] @ logs)
        middle = circuit.resonant(hertz, 0.8, to_gain(settings["middle"]))
        return circuit.cascade(james(settings["bass"], settings["treble"]), middle)

    def _voicing(self, settings: Settings) -> Rational:
        lift = to_gain(settings["ultra_high"]) - 1.0
        return circuit.shelf(lift, 2000.0, 1.0)
