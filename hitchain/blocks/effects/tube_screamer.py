"""The Ibanez Tube Screamer TS808."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.dsp import distortion
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.diodes import diode_clip
from hitchain.blocks.dsp.fft import apply_response, fast_length, frequencies
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

GROUND_RESISTOR, GROUND_CAPACITOR = 4.7e3, 47e-9
"""From the inverting input to ground [ohm, F]: bass below 720 Hz is amplified less."""

FEEDBACK_RESISTOR, DRIVE_POT, FEEDBACK_CAPACITOR = 51e3, 500e3, 51e-12
"""Across the diodes [ohm, ohm, F]."""

INPUT = 1.0 / (2.0 * math.pi * 510e3 * 20e-9)
"""Corner of the input's coupling [Hz]."""

TONE_RESISTOR, TONE_CAPACITOR, TONE_POT, TONE_LEAK = 1e3, 220e-9, 20e3, 10e3
TONE_SERIES, TONE_SHUNT = 220.0, 220e-9
"""Around the tone control's amplifier [ohm, F]."""

TAIL = 0.15
"""Seconds in which the slowest coupling, 16 Hz, has died away."""


@register("effects/tube_screamer")
class TubeScreamer(Block):
    """The Ibanez Tube Screamer TS808 by its circuit: clipping amplifier, tone control, level. Full scale is 1 V.

    The diodes in the feedback of the first amplifier hold the voltage v between its output and its input u:

        C dv/dt = i - v / (51 k + drive 500 k) - 2 Is sinh(v / V),      i = u through 4.7 k and 47 nF in series

    solved at a high rate (`diodes`), C = 51 pF, two 1N914. Its output u + v goes through the tone control, whose
    response is that of its network (D. T. Yeh, J. Abel, J. O. Smith, "Simplified, physically informed models of
    distortion and overdrive guitar effects pedals", DAFx-07). Amplifiers are ideal; the buffers pass all.

    Args:
        sample_rate: of the session [Hz].
        oversampling: how many times faster the diodes are solved; by default what takes them to 320 kHz.
    """

    parameters = (
        Parameter("drive", 0.0, 1.0, 0.5, description="position of the drive pot"),
        Parameter("tone", 0.0, 1.0, 0.5, description="position of the tone pot: dark to bright"),
        Parameter("level", -36.0, 12.0, -9.0, "dB", varying=True, description="output level"),
    )
    presets: ClassVar = {
        "clean push": {"drive": 0.0, "tone": 0.6, "level": 0.0},
        "blues": {"drive": 0.55, "tone": 0.5, "level": -9.0},
        "full": {"drive": 1.0, "tone": 0.35, "level": -10.0},
    }

    def __init__(self, sample_rate: int = 44100, oversampling: int | None = None) -> None:
        super().__init__(sample_rate)
        self.oversampling = oversampling or min(16, 2 * distortion.default_oversampling(sample_rate))

    def tail(self, settings: Settings) -> float:
        return TAIL

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples, tone = audio.shape[-1], settings["tone"]
        # the pot is logarithmic: half way it has 16 % of its resistance
        taper = (torch.exp(math.log(28.0) * settings["drive"]) - 1.0) / 27.0
        conductance = 1.0 / (FEEDBACK_RESISTOR + DRIVE_POT * taper)
        rate = self.sample_rate * self.oversampling
        clipped = distortion.distort(
            audio,
            lambda volts: diode_clip(volts / GROUND_RESISTOR, conductance, FEEDBACK_CAPACITOR, rate),
            self.sample_rate,
            self.oversampling,
            before=lambda hertz: distortion.blocking(hertz, INPUT) * distortion.blocking(hertz, GROUND_CORNER),
            after=lambda hertz: tone_response(hertz, tone),
            tail=TAIL,
        )
        n_fft = fast_length(samples + round(TAIL * self.sample_rate))
        hertz = frequencies(n_fft, self.sample_rate, like=audio)
        through = apply_response(audio, distortion.blocking(hertz, INPUT) * tone_response(hertz, tone), n_fft)
        return over_audio(to_gain(settings["level"]), samples) * (through + clipped)


GROUND_CORNER = 1.0 / (2.0 * math.pi * GROUND_RESISTOR * GROUND_CAPACITOR)


def tone_response(hertz: Tensor, position: Tensor) -> Tensor:
    """The tone control: complex (batch, 1, bins).

    With Z the series resistor and capacitor at the wiper and g = pot t (1 - t), the two halves of the pot in parallel,

        Vp (1 / R + s C + 1 / leak + (1 - t) / (g + Z)) = Vi / R,      Vo = Vp (1 + R t / (g + Z))

    both written with s C_shunt / (1 + s C_shunt (r + g)) in place of 1 / (g + Z), which is finite at 0 Hz.
    """
    t, w = position[:, None, None], 2.0 * math.pi * hertz
    turn = w * TONE_SHUNT
    load = turn * (TONE_SERIES + TONE_POT * t * (1.0 - t))
    admittance = torch.complex(turn * load, turn.expand_as(load)) / (1.0 + load.square())
    fixed = torch.complex(torch.full_like(w, 1.0 + TONE_RESISTOR / TONE_LEAK), w * TONE_RESISTOR * TONE_CAPACITOR)
    return (1.0 + TONE_RESISTOR * t * admittance) / (fixed + TONE_RESISTOR * (1.0 - t) * admittance)
