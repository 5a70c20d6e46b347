"""An American clean amplifier."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import torch

from hitchain.blocks.amps import circuit
from hitchain.blocks.amps.circuit import Circuit, CircuitAmplifier, Rational, Stage
from hitchain.blocks.dsp import circuits
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

STACK = circuits.ToneStack(250e3, 250e3, 10e3, 100e3, 250e-12, 100e-9, 47e-9)
"""As commonly given for the Fender AB763 (1963):
treble and bass 250 k, middle 10 k, slope 100 k, 250 pF, 0.1 uF, 0.047 uF."""

VOLUME, BRIGHT = 1e6, 47e-12
"""The volume control [ohm] and the capacitor across it [F]."""


@register("amps/american_clean")
class AmericanClean(CircuitAmplifier):
    """A clean American combo of the 1960s: one triode, the scooped tone stack, a second and third one, two 6V6.

    After the Fender AB763 circuit (Deluxe Reverb; the middle control is the Twin's). The tone stack stands right behind
    the first triode; the volume control has its bright capacitor. Couplings: 0.1 uF, 0.022 uF into 1 M and 220 k.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run; by default what takes them to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("gain", 0.0, 40.0, default=14.0, unit="dB", description="volume: clean, then breaking up"),
        circuit.BIAS,
        circuit.BASS,
        circuit.MIDDLE,
        circuit.TREBLE,
        circuit.PRESENCE,
        circuit.master(0.0),
        circuit.SAG,
        circuit.LEVEL,
    )
    presets: ClassVar = {
        "clean": {"gain": 8.0, "treble": 0.6, "bass": 0.45},
        "edge of breakup": {"gain": 24.0, "master": 6.0, "middle": 0.6},
        "cranked": {"gain": 36.0, "master": 14.0, "sag": 0.7, "bass": 0.3},
    }
    circuit = Circuit(
        before=(Stage(6.0, 0.0, 0.1, low=2.0),),
        after=(Stage(0.0, 0.6, 0.2, low=7.0), Stage(0.0, 0.4, 0.2, low=33.0, high=9000.0)),
        transformer=(40.0, 11_000.0),
        presence=(2500.0, 1.0),
        supply=(0.03, 0.18),
    )

    def _input(self, settings: Settings) -> Rational:
        position = 10.0 ** ((settings["gain"] - 40.0) / 20.0)
        return circuit.cascade(circuit.high_pass(20.0, settings["gain"]), circuit.bright(position, VOLUME, BRIGHT))

    def _tone(self, settings: Settings) -> Rational:
        # Here the middle control is a rheostat: the Bassman's network with its wiper at the top of a smaller one.
        middle = settings["middle"] * STACK.middle
        stack = dataclasses.replace(STACK, middle=middle)  # type: ignore[arg-type]
        return circuits.tone_stack(settings["bass"], torch.ones_like(middle), settings["treble"], stack)
