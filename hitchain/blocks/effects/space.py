"""Place and width in the stereo field: pan, width, a Haas delay, and stereo from mono."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Block, LinearBlock
from hitchain.blocks.dsp import filters
from hitchain.blocks.dsp.control import over_audio
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.section_filter import filter_sections
from hitchain.blocks.dsp.spiral import Circle
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register


@register("effects/pan")
class Pan(Block):
    """Pan pot: with p = (position + 1) / 2 and a = pi/2 p, the right side's gain g(p), the left side's g(1 - p), is

        -3 dB     sin(a) sqrt(2)               constant power
        -6 dB     2 p                          constant sum
        -4.5 dB   sqrt(sin(a) p) 2^(3/4)       halfway between

    The law names how far the centre lies below a side; as in mixer/fader, gains are scaled to 0 dB at the centre. Mono
    becomes stereo; a stereo signal is balanced. Three-way laws: Ballou, Handbook for Sound Engineers, "Panning".
    """

    parameters = (
        Parameter("position", -1.0, 1.0, default=0.0, varying=True, description="-1 left, 0 centre, 1 right"),
        Choice("law", ("-3 dB", "-4.5 dB", "-6 dB"), "-3 dB", description="of the centre against the sides"),
    )
    presets: ClassVar = {"left": {"position": -0.6}, "right": {"position": 0.6}, "hard left": {"position": -1.0}}
    probe: ClassVar[dict[str, float]] = {"position": 0.4}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        share = 0.5 * (over_audio(settings["position"], audio.shape[-1]) + 1.0)
        shares = torch.cat([1.0 - share, share], dim=1)
        # sin(pi/2 p) = (pi/2) p sinc(p/2), which keeps the root's slope finite at 0
        power = torch.sin(shares * (math.pi / 2.0)) * math.sqrt(2.0)
        between = shares * torch.sqrt(torch.sinc(0.5 * shares) * (math.pi / 2.0)) * 2.0**0.75
        three, four, six = (weight[:, None, None] for weight in settings["law"].unbind(-1))
        gains: Tensor = three * power + four * between + six * 2.0 * shares
        return audio * gains


@register("effects/stereo_width")
class StereoWidth(Block):
    """Mid and side, m, s = (left +- right) / 2: sides scaled by `width`, then the image turned by `rotation`.

        (l, r) = (m + width s, m - width s) turned in the plane of left and right by the angle `rotation`

    Mono has no sides; turned, it becomes stereo. Blumlein, British patent 394325 (1931).
    """

    parameters = (
        Parameter("width", 0.0, 2.0, default=1.3, varying=True, description="0 mono, 1 as it is, 2 the side doubled"),
        Parameter("rotation", -45.0, 45.0, default=0.0, unit="degrees", varying=True, description="-45 left, 45 right"),
    )
    presets: ClassVar = {"narrow": {"width": 0.5}, "wide": {"width": 1.6}, "mono": {"width": 0.0}}

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        samples = audio.shape[-1]
        left, right = audio[:, :1], audio[:, -1:]
        middle, side = 0.5 * (left + right), 0.5 * (left - right) * over_audio(settings["width"], samples)
        left, right = middle + side, middle - side
        angle = over_audio(settings["rotation"], samples) * (math.pi / 180.0)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        return torch.cat([cosine * left - sine * right, cosine * right + sine * left], dim=1)


@register("effects/haas")
class Haas(LinearBlock):
    """One side later than the other: the ear hears the sound where it came from first (Haas 1951; Wallach 1949).

        y = x on the early side;  y = 10^(level / 20) x(t - time) on the late one

    The delay is fractional; nothing of it is left above 0.48 sample_rate. Mono becomes stereo; summed to mono again it
    is a comb filter, which a `level` below 0 dB makes shallower.
    """

    parameters = (
        Parameter("time", 0.0, 40.0, default=12.0, unit="ms", description="how much later one side is"),
        Parameter("level", -24.0, 3.0, default=-1.5, unit="dB", description="of the late side"),
        Choice("late", ("left", "right"), "right", description="the side that comes later"),
    )
    presets: ClassVar = {
        "subtle": {"time": 6.0, "level": -4.0},
        "wide guitar": {"time": 18.0, "level": -1.0},
        "to the right": {"time": 14.0, "late": "left"},
    }

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        level, circle = to_gain(settings["level"])[:, None], Circle(n_fft)
        samples = settings["time"].double() * (self.sample_rate / 1000.0)
        delayed = level * circle.delay(samples, level.dtype) * circle.edge(level)
        late = settings["late"].unsqueeze(-1)
        return late * delayed[:, None] + (1.0 - late)

    def tail(self, settings: Settings) -> float:
        return float(settings["time"].detach().max()) / 1000.0 + 256.0 / self.sample_rate


@register("effects/stereo_maker")
class StereoMaker(Block):
    """Stereo from mono that is mono again when summed: a complementary pair of phase combs.

        l = cos(a) x + sin(a) side,  r = cos(a) x - sin(a) side,  a = pi/4 width,  side = A(x)

    A is a high-pass at `bass` and six second-order all-passes, from `lowest` up, an octave times `spacing` apart: what
    is in phase with x at a frequency goes left, what is in opposite phase right. l + r has no trace of it, and where
    the bass is not taken out the power of l and r together is that of x. Stereo keeps its own sides beside.

    After Orban 1970, "A rational technique for synthesizing pseudo-stereo from monophonic sources" (JAES 18).
    """

    parameters = (
        Parameter("width", 0.0, 1.0, default=0.6, varying=True, description="0 as it was, 1 as much side as middle"),
        Parameter("lowest", 60.0, 600.0, 150.0, "Hz", "log", "the lowest all-pass"),
        Parameter("spacing", 0.5, 1.5, default=1.0, unit="octaves", description="from one all-pass to the next"),
        Parameter("bass", 20.0, 400.0, 120.0, "Hz", "log", "mono below"),
    )
    presets: ClassVar = {
        "gentle": {"width": 0.35, "bass": 200.0},
        "wide": {"width": 0.8, "lowest": 100.0},
        "many combs": {"width": 0.6, "spacing": 0.6, "lowest": 300.0},
    }
    STAGES = 6
    Q = 0.8

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        middle = audio.mean(dim=1, keepdim=True)
        angle = over_audio(settings["width"], audio.shape[-1]) * (math.pi / 4.0)
        side = torch.sin(angle) * filter_sections(middle, *self._sections(settings))
        return torch.cos(angle) * audio + torch.cat([side, -side], dim=1)

    def _sections(self, settings: Settings) -> tuple[Tensor, Tensor]:
        """(batch, 7, 3) twice."""
        stage = torch.arange(self.STAGES, dtype=torch.float64, device=settings["lowest"].device)
        octaves = settings["spacing"].double()[:, None] * stage
        centres = settings["lowest"].double()[:, None] * torch.exp2(octaves)
        centres = centres / (1.0 + (centres / (0.45 * self.sample_rate)) ** 8) ** 0.125  # stays below Nyquist
        q = torch.full_like(centres, self.Q)
        b, a = filters.all_pass(centres, q, self.sample_rate)
        bass = settings["bass"].double()[:, None]
        cut = filters.high_pass(bass, torch.full_like(bass, math.sqrt(0.5)), self.sample_rate)
        return torch.cat([b, cut[0]], dim=1), torch.cat([a, cut[1]], dim=1)

    def tail(self, settings: Settings) -> float:
        _, a = self._sections(settings)
        return float(filters.ring_time(a).sum(dim=-1).max()) / self.sample_rate
