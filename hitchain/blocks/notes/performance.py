"""How written notes are played: timing, velocity, length, transposition, swing, a human hand."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import NoteBlock
from hitchain.blocks.dsp.noise import noise, positions
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import SEED, Choice, Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError

SHORTEST, SHORT = 0.010, 0.020
"""[s] No note lasts less than the first; below the second, lengths are drawn toward it."""
EARLIEST = -0.005
"""[s] No note begins before this: a song begins at 0, and what comes before is drawn toward this."""
SOFT = 0.02
"""Velocities within this of 0 and 1 are drawn toward them instead of passing."""

_TRANSPOSE = Choice(
    "transpose",
    ("-12", "-7", "-5", "-2", "0", "2", "5", "7", "12"),
    default="0",
    description="semitones by which all notes are moved",
)
_TIMING_STREAM, _VELOCITY_STREAM = 101, 102


@register("notes/performance")
class Performance(NoteBlock):
    """A performance of written notes.

    With x the place in a pair of eighths (or sixteenths), 0 to 1, and P the pair's length, swing is the piecewise
    linear warp of time that takes the middle of the pair to `swing` percent of it,

        shift(x) = (2 swing / 100 - 1) min(x, 1 - x) P,

    applied to onsets and ends. Then, with h1 and h2 fixed noise of unit variance (uniform) for each note,

        onset    = onset + shift(x) + timing + humanise_timing h1          not before -5 ms
        duration = duration (as swung) * duration scale                    not under 10 ms
        velocity = velocity + velocity offset + humanise_velocity h2       within 0 and 1

    where the limits are approached softly, so that every note keeps a gradient. Neutral settings leave notes as written
    (but for velocities over 0.98 and under 0.02 and notes shorter than 20 ms, which the limits already draw).

    Transposition: where every item's weights are on one option and need no gradient, pitches move. Otherwise each note
    becomes a candidate for each option, note by note in the order of the options, with mask weight * mask; candidates
    of weight 0 cost nothing to render. A drum's pitch is its name, so drum tracks are without `transpose`.

    Args:
        drums: whether the notes are General MIDI drum notes.
        subdivision: what swings: 8 for eighths, 16 for sixteenths.
    """

    parameters: ClassVar[tuple[Parameter | Choice, ...]] = (
        Parameter("timing", -40.0, 40.0, default=0.0, unit="ms", per_note=True, description="later (+) or earlier (-)"),
        Parameter("velocity", -0.4, 0.4, default=0.0, per_note=True, description="harder (+) or softer (-)"),
        Parameter("duration", 0.25, 2.0, default=1.0, scale="log", description="length of all notes, as written = 1"),
        _TRANSPOSE,
        Parameter("swing", 50.0, 75.0, default=50.0, unit="%", description="50 straight, 66.7 triplets, 75 dotted"),
        Parameter(
            "humanise_timing", 0.0, 25.0, default=0.0, unit="ms", description="random timing, standard deviation"
        ),
        Parameter("humanise_velocity", 0.0, 0.2, default=0.0, description="random velocity, standard deviation"),
    )
    presets: ClassVar = {
        "tight": {"humanise_timing": 3.0, "humanise_velocity": 0.03},
        "loose": {"humanise_timing": 12.0, "humanise_velocity": 0.08},
        "laid back": {
            "timing": 15.0,
            "velocity": -0.05,
            "swing": 54.0,
            "humanise_timing": 6.0,
            "humanise_velocity": 0.05,
        },
        "swung": {"swing": 64.0, "duration": 0.9, "humanise_timing": 5.0, "humanise_velocity": 0.05},
    }

    def __init__(self, sample_rate: int = 44100, drums: bool = False, subdivision: int = 8) -> None:
        super().__init__(sample_rate)
        if subdivision not in (8, 16):
            raise UserError(f"notes/performance: subdivision={subdivision!r} should be 8 or 16.")
        self.drums = drums
        self.pair = 8.0 / subdivision  # quarter notes in a pair of what swings
        if drums:
            self.parameters = tuple(p for p in self.parameters if p is not _TRANSPOSE)  # type: ignore[misc]

    def forward(self, notes: Notes, settings: Settings) -> Notes:  # type: ignore[override]
        performed = self.performed(notes, settings)
        return performed if self.drums else transposed(performed, settings["transpose"])

    def performed(self, notes: Notes, settings: Settings) -> Notes:
        """The notes in time, length and velocity as played, at the pitch as written."""
        seed = settings.get(SEED, torch.tensor(0))
        swing = settings["swing"][:, None] / 50.0 - 1.0
        begin = self._shift(notes.beat, notes.beat_length) * swing
        end = self._shift(notes.beat + notes.duration / notes.beat_length, notes.beat_length) * swing
        moved = _each(settings["timing"]) + settings["humanise_timing"][:, None] * _hand(notes, seed, _TIMING_STREAM)
        played = settings["humanise_velocity"][:, None] * _hand(notes, seed, _VELOCITY_STREAM)
        duration = (notes.duration + end - begin) * settings["duration"][:, None]
        return notes.with_(
            onset=soft_floor(notes.onset + begin + moved / 1000.0, EARLIEST, 0.0),
            duration=soft_floor(duration, SHORTEST, SHORT),
            velocity=_within(notes.velocity + _each(settings["velocity"]) + played),
        )

    def _shift(self, beat: Tensor, beat_length: Tensor) -> Tensor:
        """[s] by which full swing (100 %) would move what falls on `beat`."""
        place = torch.remainder(beat / self.pair, 1.0)
        return torch.minimum(place, 1.0 - place) * self.pair * beat_length


def soft_floor(value: Tensor, floor: float, knee: float) -> Tensor:
    """`value` from `knee` up; below, floor + w^2 / (w + knee - value) with w = knee - floor.

    Always above `floor`, with a continuous slope that falls off with the square of the distance, never to zero.
    """
    width = knee - floor
    below = floor + width**2 / (width + (knee - value).clamp_min(0.0))
    return torch.where(value >= knee, value, below)


def _within(velocity: Tensor) -> Tensor:
    return 1.0 - soft_floor(1.0 - soft_floor(velocity, 0.0, SOFT), 0.0, SOFT)


def _each(value: Tensor) -> Tensor:
    """A per-note setting: (batch, notes), or (batch, 1) where it is the same for all."""
    return value if value.ndim == 2 else value[:, None]


def _hand(notes: Notes, seed: Tensor, stream: int) -> Tensor:
    """Noise of unit variance, (batch, notes), that belongs to the note as written, whichever others are there."""
    place = positions(notes.beat, notes.pitch, stream=stream)
    return noise(seed, 1, place, dtype=notes.onset.dtype, device=notes.onset.device).squeeze(-1)


def transposed(notes: Notes, weights: Tensor) -> Notes:
    """The notes moved by the options of `transpose`, whose weights are (batch, options)."""
    steps = torch.tensor([float(option) for option in _TRANSPOSE.options], dtype=weights.dtype, device=weights.device)
    if decided(weights):
        return notes.with_(pitch=notes.pitch + (weights @ steps)[:, None])
    return candidates(notes, notes.pitch[:, :, None] + steps, weights[:, None, :])


def decided(weights: Tensor) -> bool:
    """Whether every choice is wholly on one option, and none wants a gradient."""
    return not weights.requires_grad and bool((weights.amax(dim=-1) == 1.0).all())


def candidates(notes: Notes, pitch: Tensor, weights: Tensor) -> Notes:
    """Each note at several pitches (batch, notes, options), note by note, with mask weight * mask."""
    fields = {key: value[:, :, None].expand(pitch.shape) for key, value in notes.tensors().items()}
    fields |= {"pitch": pitch, "mask": fields["mask"] * weights}
    return notes.with_(**{key: value.flatten(1) for key, value in fields.items()})
