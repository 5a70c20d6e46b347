"""A plucked string."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp import modes, oscillators, string
from hitchain.blocks.dsp.decibels import midi_to_hz, to_gain
from hitchain.blocks.dsp.voices import Voices, render
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register

REFERENCE = 10.0 ** (-17.0 / 20.0)
"""RMS of all partials together at the pluck, at a level of 0 dB and full velocity."""

RATE = 44100.0
"""[Hz] The rate of the string's loop, whatever that of the session: a string sounds the same at all of them."""

AUDIBLE = 1.6
"""A string is followed for so many times its decay by 60 dB: to -96 dB."""


@register("instruments/pluck")
class Pluck(Instrument):
    """The extended Karplus-Strong string (Jaffe and Smith, Computer Music Journal 7(2), 1983; J. O. Smith, Physical
    Audio Signal Processing), a delay of D samples in a loop with filters:

        y = damper(t) * E(z) / (1 - z^-D G(z) A(z)^8)
        E(z) = (1 - z^(-pick_position P)) / (1 + s / brightness)                    the pick: where, and how hard
        G(z) = 10^(-3 P / decay) ((1 + b) / 2 + (1 - b) / 4 (z + 1 / z))            losses, and brightness b
        A(z) = (a + 1 / z) / (1 + a / z)                                            its stiffness

    D makes up for the phase of the filters exactly, so the fundamental is in tune; `a` is such that the lower partials
    stand where those of a string of that inharmonicity do, k f sqrt(1 + B k^2) (Fletcher, 1964). The loop is not run:
    it is known by its poles (`dsp.string`), so that a window of a note is exact. Power does not depend on the pick.
    """

    parameters = (
        Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="of a note at full velocity"),
        Parameter("pick_position", 0.02, 0.5, default=0.17, description="from the bridge, of the string's length"),
        Parameter("brightness", 100.0, 12000.0, default=2200.0, unit="Hz", scale="log", description="of the pick"),
        Parameter("string_brightness", 0.0, 0.99, default=0.75, description="how long high partials ring, 1 as others"),
        Parameter("decay", 0.1, 20.0, default=5.0, unit="s", scale="log", description="of the string, to -60 dB"),
        Parameter("inharmonicity", 1e-6, 1e-3, default=6e-5, scale="log", description="stiffness of the string, B"),
        Parameter("release", 5.0, 5000.0, default=120.0, unit="ms", scale="log", description="hand or felt, after it"),
        Parameter("velocity_to_level", 0.0, 1.0, default=0.8, description="0 all notes alike, 1 follows velocity"),
        Parameter(
            "velocity_to_brightness", 0.0, 4.0, default=1.5, unit="octaves", description="how dark soft ones are"
        ),
    )
    presets: ClassVar = {
        "nylon guitar": {"pick_position": 0.2, "brightness": 900.0, "string_brightness": 0.45, "decay": 3.5},
        "steel guitar": {"pick_position": 0.12, "brightness": 4500.0, "string_brightness": 0.9, "decay": 9.0},
        "muted bass": {"pick_position": 0.3, "brightness": 500.0, "string_brightness": 0.2, "decay": 0.9},
        "harpsichord": {
            "pick_position": 0.08,
            "brightness": 9000.0,
            "string_brightness": 0.95,
            "decay": 6.0,
            "velocity_to_level": 0.1,
            "velocity_to_brightness": 0.2,
        },
    }

    def tail(self, settings: Settings) -> float:
        return float(_tail(settings).max())

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        def voice(voices: Voices) -> Tensor:
            return self._voice(voices, notes, settings)

        return render(notes, self.sample_rate, _tail(settings), voice, settings["level"].dtype, ragged=True)

    def _voice(self, voices: Voices, notes: Notes, settings: Settings) -> Tensor:
        """(voices, span)."""
        knob = {parameter.name: voices.of(settings[parameter.name]) for parameter in self.parameters}
        dtype = knob["level"].dtype
        velocity = voices.of(notes.velocity).to(dtype)
        loudness = 1.0 - knob["velocity_to_level"] * (1.0 - velocity)
        gain = to_gain(knob["level"]) * loudness * voices.of(notes.mask).to(dtype) * REFERENCE
        corner = knob["brightness"] * torch.exp2(knob["velocity_to_brightness"] * (velocity - 1.0))

        turn = midi_to_hz(voices.of(notes.pitch).double()) * (2.0 * math.pi / RATE)
        period = 2.0 * math.pi / turn
        lasting = torch.exp(-modes.decay_rate(knob["decay"].double()) * period / RATE)
        allpass = string.dispersion(period, knob["inharmonicity"].double())
        loop = string.tuned(turn, lasting, knob["string_brightness"].double(), allpass)
        top = string.partials(loop)
        poles = string.poles(loop, turn, top)
        kept = torch.arange(poles.shape[1], device=top.device) < top[:, None]
        excited = self._excitation(poles, period, knob["pick_position"].double(), corner.double()) * kept
        rung = excited / string.slope(loop, poles)
        power = 1e-12 + 2.0 * (rung.real.square() + rung.imag.square()).sum(dim=1)
        amplitude = rung * (2.0 * gain.double() / torch.sqrt(power))[:, None]

        since = voices.since(notes.onset)
        audio = modes.ring(since, amplitude, poles * RATE, voices, dtype, top)
        return audio * modes.damper(since, voices.of(notes.duration), knob["release"] / 1000.0, voices)

    def _excitation(self, poles: Tensor, period: Tensor, position: Tensor, corner: Tensor) -> Tensor:
        """E at the poles: a pick at its place, one-pole soft, and nothing above the band."""
        band = oscillators.below_nyquist(poles.imag * (RATE / (2.0 * math.pi)), min(self.sample_rate, round(RATE)))
        comb = 1.0 - torch.exp(-poles * (position * period)[:, None])
        return band * comb / (1.0 + poles * (RATE / (2.0 * math.pi * corner))[:, None])


def _tail(settings: Settings) -> Tensor:
    """[s] after the key is let go until the string is silent, by hand or by itself: (batch,)."""
    return torch.minimum(settings["release"] / 1000.0, AUDIBLE * settings["decay"]).detach()
