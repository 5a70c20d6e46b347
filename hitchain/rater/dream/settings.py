"""How a dream goes: its steps, and the regularisers of feature visualisation, each a switch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hitchain.errors import UserError

PARAMETERISATIONS = ("waveform", "spectral")


@dataclass(frozen=True)
class DreamSettings:
    """Settings of a dream. A regulariser at its default is off.

    Attributes:
        steps: gradient steps.
        learning_rate: of Adam, on samples relative to the audio's level.
        parameterisation: "waveform" (the samples themselves) or "spectral": Fourier coefficients of the whole, scaled
            like 1/f, so that a step changes all frequencies by what is usual in sound (decorrelated parameterisation,
            Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017).
        jitter_ms: the audio is shifted in time by up to so much either way, another way in every step.
        gain_db: it is turned up or down, and faded, by up to so much.
        shift_semitones: it is played faster or slower, and so higher or lower, by up to so much.
        noise_db: level of white noise added under it; -120 is off.
        total_variation: weight of the mean step from sample to sample, relative to the level: against high frequencies.
        low_hz, high_hz: what is outside this band is taken away after every step; 0 is off.
        seed: of the noise a dream starts from and of all that is random on the way.
    """

    steps: int = 200
    learning_rate: float = 0.03
    parameterisation: str = "waveform"
    jitter_ms: float = 0.0
    gain_db: float = 0.0
    shift_semitones: float = 0.0
    noise_db: float = -120.0
    total_variation: float = 0.0
    low_hz: float = 0.0
    high_hz: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value, whole = getattr(self, name), isinstance(_DEFAULTS[name], int)
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                kind = "a whole number" if whole else "a number"
                raise UserError(f"dream: {name}={value!r} should be {kind} from {low} to {high}.")
        if self.parameterisation not in PARAMETERISATIONS:
            raise UserError(f"dream: parameterisation={self.parameterisation!r} should be waveform or spectral.")
        if self.high_hz and self.high_hz <= self.low_hz:
            raise UserError(f"dream: high_hz={self.high_hz:g} should be over low_hz={self.low_hz:g}.")

    @property
    def regularised(self) -> list[str]:
        """The names of the regularisers that are on."""
        return [name for name in REGULARISERS if getattr(self, name) != _DEFAULTS[name]]


REGULARISERS: dict[str, Any] = {
    "parameterisation": "spectral",
    "jitter_ms": 40.0,
    "gain_db": 6.0,
    "shift_semitones": 0.5,
    "noise_db": -40.0,
    "total_variation": 0.5,
    "low_hz": 40.0,
    "high_hz": 10_000.0,
}
"""The regularisers, each with the value it has where all are on."""

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(DreamSettings)}
_RANGES: dict[str, tuple[float, float]] = {
    "steps": (0, 10_000_000),
    "learning_rate": (1e-6, 10.0),
    "jitter_ms": (0.0, 1000.0),
    "gain_db": (0.0, 40.0),
    "shift_semitones": (0.0, 12.0),
    "noise_db": (-120.0, 0.0),
    "total_variation": (0.0, 1e4),
    "low_hz": (0.0, 20_000.0),
    "high_hz": (0.0, 96_000.0),
    "seed": (0, 2**31 - 1),
}
