"""A British high-gain amplifier."""

from __future__ import annotations

from typing import ClassVar

from hitchain.blocks.amps import circuit
from hitchain.blocks.amps.circuit import Circuit, CircuitAmplifier, Rational, Stage
from hitchain.blocks.dsp import circuits
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

STACK = circuits.ToneStack(220e3, 1e6, 22e3, 33e3, 470e-12, 22e-9, 22e-9)
"""As commonly given for the Marshall 2203 (1981):
treble 220 k, bass 1 M, middle 22 k, slope 33 k, 470 pF, 22 nF, 22 nF."""


@register("amps/british_high_gain")
class BritishHighGain(CircuitAmplifier):
    """A British stack with a master volume: three triodes in a row, the second one cold, then the tone stack, two EL34.

    After the Marshall JCM800 2203: first cathode 2.7 k and 0.68 uF (bass cut by 8 dB below 90 Hz), 22 nF and a gain
    control of 1 M with 1 nF across it (bright at low gain), a second stage biased cold by 10 k, which clips one side
    early, a third and a cathode follower that drives the tone stack.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the valves run; by default what takes them to 160 kHz, at most 8.
    """

    parameters = (
        Parameter("gain", 0.0, 56.0, default=34.0, unit="dB", description="preamplifier volume"),
        circuit.BIAS,
        circuit.BASS,
        circuit.MIDDLE,
        circuit.TREBLE,
        circuit.PRESENCE,
        circuit.master(6.0),
        circuit.SAG,
        circuit.LEVEL,
    )
    presets: ClassVar = {
        "crunch": {"gain": 24.0, "middle": 0.6, "master": 8.0},
        "rhythm": {"gain": 38.0, "middle": 0.5, "presence": 0.5},
        "lead": {"gain": 50.0, "middle": 0.7, "treble": 0.45, "master": 9.0},
    }
    circuit = Circuit(
        before=(
            Stage(0.0, 0.2, 0.15, low=7.0),
            Stage(0.0, 0.5, 0.6, low=7.0, high=11_000.0, upper=0.7, lower=1.3),
            Stage(0.0, 0.3, 0.2, low=5.0, high=10_000.0),
        ),
        after=(),
        transformer=(35.0, 12_000.0),
        presence=(2200.0, 2.0),
        supply=(0.015, 0.08),
    )

    def _input(self, settings: Settings) -> Rational:
        position = 10.0 ** ((settings["gain"] - 56.0) / 40.0)  # half of the range in dB: the rest is the stages'
        return circuit.cascade(
            circuit.high_pass(15.0, settings["gain"]),
            circuit.cathode(2.7e3, 0.68e-6, settings["gain"]),
            circuit.bright(position, 1e6, 1e-9),
        )

    def _tone(self, settings: Settings) -> Rational:
        return circuits.tone_stack(settings["bass"], settings["middle"], settings["treble"], STACK)
