"""Graphic equalisers of ten octave bands and of 31 third-octave bands."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters, section_filter
from hitchain.blocks.parameter import Choice, Parameter, Settings
from hitchain.blocks.registry import register

WIDTH = 1.25
"""Of a band between its half-gain points, as a multiple of the bands' spacing: wider, alternating sliders ask ever more
of the bands; narrower, equal sliders ripple."""

_MOST_STEPS = 12
_CLOSE = 1e-9  # dB: the search for the bands' gains ends there


def _label(centre: float) -> str:
    """A name for a band, as on the panel: 31.5 Hz is `hz_31_5`, 1250 Hz `hz_1250`."""
    return f"hz_{centre:g}".replace(".", "_")


def _sliders(centres: tuple[float, ...]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(_label(centre), -12.0, 12.0, default=0.0, unit="dB", description=f"gain at {centre:g} Hz")
        for centre in centres
    )


def _levels(centres: tuple[float, ...], *levels: float) -> dict[str, float]:
    return {_label(centre): level for centre, level in zip(centres, levels, strict=True)}


def band_gains(target: Tensor, angle: Tensor, alpha: Tensor) -> Tensor:
    """The gains of cookbook peaks in series whose product is `target` at every one of their centres.

    At the angle w a peak with A = 10^(gain/40) has, with d = cos w - cos w0 and r = alpha sin w,

        |H|^2 = (d^2 + A^2 r^2) / (d^2 + r^2 / A^2)

    so that the sum of the bands' decibels and its derivatives are known in closed form, and Newton's method finds the
    gains. Its last step carries the gradient, which is that of the implicit function.

    Args:
        target: [dB], (batch, bands), float64.
        angle: w0 = 2 pi centre / sample_rate; alpha: sin w0 / (2 Q); each (bands,), float64.

    Returns:
        [dB], (batch, bands).
    """
    from_centre = (torch.cos(angle)[:, None] - torch.cos(angle)).square()  # (at, band)
    reach = (alpha * torch.sin(angle)[:, None]).square()

    def heard(gains: Tensor) -> tuple[Tensor, Tensor]:
        square = torch.exp(gains * (math.log(10.0) / 20.0)).unsqueeze(-2)
        top, bottom = reach * square, reach / square
        level = (10.0 / math.log(10.0)) * torch.log((from_centre + top) / (from_centre + bottom)).sum(dim=-1)
        return level, 0.5 * (top / (from_centre + top) + bottom / (from_centre + bottom))

    with torch.no_grad():
        gains = target
        for _ in range(_MOST_STEPS):
            level, slopes = heard(gains)
            gains = gains - torch.linalg.solve(slopes, level - target)
            if bool(((level - target).abs() < _CLOSE).all()):
                break
        level, slopes = heard(gains)
    solved: Tensor = gains - torch.linalg.solve(slopes, level - target)
    return solved


class GraphicEq(LinearBlock):
    """Sliders at fixed frequencies. Each is the gain at its centre, whatever the others do.

    One cookbook peak a band, all in series, 1.25 times as wide as the bands are apart (its bandwidth kept where the
    bilinear transform would narrow it). Neighbours overlap: the peaks' gains are those for which the whole is what the
    sliders say at all centres (`band_gains`; after V. Valimaki and J. Liski 2017, "Accurate cascade graphic
    equalizer", who come to within 1 dB; here the solution is exact at the centres). Between them it stays within 2 dB
    of the straight line from slider to slider. Centres above 0.46 of the sample rate are left out.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = ()
    centres: ClassVar[tuple[float, ...]] = ()
    exact: ClassVar[tuple[float, ...]] = ()
    """The centres in Hz before rounding to what is written on the panel."""
    octaves: ClassVar[float] = 1.0

    def sections(self, settings: Settings) -> filters.Section:
        """The bands' b and a, float64, (batch, bands, 3)."""
        count = sum(centre <= filters.KNEE * self.sample_rate for centre in self.exact)
        target = torch.stack([settings[_label(centre)] for centre in self.centres[:count]], dim=-1).double()
        centres = target.new_tensor(self.exact[:count])
        angle = centres * (2.0 * math.pi / self.sample_rate)
        stretched = (0.5 * math.log(2.0) * WIDTH * self.octaves) * angle / torch.sin(angle)
        alpha = torch.sin(angle) * torch.sinh(stretched)
        gains = band_gains(target, angle, alpha)
        return filters.peak(centres, gains, 0.5 / torch.sinh(stretched), self.sample_rate)

    def forward(self, audio: Tensor, settings: Settings) -> Tensor:
        """In time, which is exact."""
        return section_filter.filter_sections(audio, *self.sections(settings))

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        b, a = self.sections(settings)
        dtype = settings[_label(self.centres[0])].dtype
        return filters.sections_response(b, a, n_fft, dtype).unsqueeze(1)

    @torch.no_grad()
    def tail(self, settings: Settings) -> float:
        _, a = self.sections(settings)
        ring = filters.ring_time(a, decay=100.0)
        longest = ring.max(dim=-1).values
        return float((longest + (ring.sum(dim=-1) - longest) / 3.0).max()) / self.sample_rate


_OCTAVES = (31.5, 63.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)


@register("effects/graphic_eq")
class GraphicEq10(GraphicEq):
    """Graphic equaliser of ten octave bands, 31.5 Hz to 16 kHz (the preferred frequencies of ISO 266).

    Each slider is the gain at its centre, whatever the others do; see `GraphicEq`.
    """

    centres = _OCTAVES
    exact = tuple(1000.0 * 10.0 ** (0.3 * step) for step in range(-5, 5))
    octaves = 0.3 / math.log10(2.0)
    parameters = _sliders(centres)
    presets: ClassVar = {
        "smile": _levels(_OCTAVES, 4.0, 5.0, 3.0, 0.0, -2.0, -2.5, -1.0, 2.0, 4.0, 4.0),
        "telephone": _levels(_OCTAVES, -12.0, -12.0, -12.0, -6.0, 2.0, 4.0, 3.0, -4.0, -12.0, -12.0),
        "clear voice": _levels(_OCTAVES, -9.0, -6.0, -2.0, -2.0, 0.0, 1.0, 3.0, 3.5, 1.0, 0.0),
    }
    probe: ClassVar = {_label(centre): 3.0 * (-1.0) ** index for index, centre in enumerate(_OCTAVES)}


_THIRDS = (
    *(20.0, 25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0, 630.0, 800.0),
    *(1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0, 10000.0, 12500.0, 16000.0),
    20000.0,
)


@register("effects/graphic_eq_31")
class GraphicEq31(GraphicEq):
    """Graphic equaliser of 31 third-octave bands, 20 Hz to 20 kHz (the preferred frequencies of ISO 266).

    Each slider is the gain at its centre, whatever the others do; see `GraphicEq`.
    """

    centres = _THIRDS
    exact = tuple(1000.0 * 10.0 ** (0.1 * step) for step in range(-17, 14))
    octaves = 0.1 / math.log10(2.0)
    parameters = _sliders(centres)
    presets: ClassVar = {
        "less mud": {"hz_200": -2.0, "hz_250": -3.5, "hz_315": -4.0, "hz_400": -3.0, "hz_500": -1.5},
        "presence": {"hz_2000": 1.0, "hz_2500": 2.0, "hz_3150": 3.0, "hz_4000": 3.0, "hz_5000": 2.0, "hz_6300": 1.0},
        "air and weight": {
            "hz_50": 2.0,
            "hz_63": 3.0,
            "hz_80": 2.0,
            "hz_10000": 2.0,
            "hz_12500": 3.0,
            "hz_16000": 3.5,
        },
    }
