"""Notes: a batch of performances as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Notes:
    """Batched notes. Every tensor has shape (batch, notes); padding has mask 0.

    Attributes:
        onset: [s] from the start of the window being rendered; negative where a note began before it.
        duration: [s] until the key is let go (or the pedal lifted).
        pitch: [MIDI semitones], real-valued; 69 is A4 = 440 Hz. For drums, the General MIDI drum note.
        velocity: 0 to 1.
        mask: presence, 0 (absent) to 1; in between, the soft weight of a candidate note. Scales the amplitude.
        beat: onset as written, in quarter notes from the start of the song.
        beat_length: [s] of a quarter note at the onset.
        length: [s] of the window to be rendered.
    """

    onset: Tensor
    duration: Tensor
    pitch: Tensor
    velocity: Tensor
    mask: Tensor
    beat: Tensor
    beat_length: Tensor
    length: float

    @staticmethod
    def of(
        onset: list[float],
        duration: list[float],
        pitch: list[float],
        velocity: list[float] | None = None,
        length: float | None = None,
        tempo: float = 120.0,
        dtype: torch.dtype = torch.float32,
    ) -> Notes:
        """A batch of one performance from plain lists. `length` [s] defaults to the end of the last note plus 1 s."""
        onsets = torch.tensor([onset], dtype=dtype)
        durations = torch.tensor([duration], dtype=dtype)
        velocities = torch.full_like(onsets, 0.8) if velocity is None else torch.tensor([velocity], dtype=dtype)
        if length is None:
            length = max((a + b for a, b in zip(onset, duration, strict=True)), default=0.0) + 1.0
        return Notes(
            onset=onsets,
            duration=durations,
            pitch=torch.tensor([pitch], dtype=dtype),
            velocity=velocities,
            mask=torch.ones_like(onsets),
            beat=onsets * tempo / 60.0,
            beat_length=torch.full_like(onsets, 60.0 / tempo),
            length=length,
        )

    @property
    def batch(self) -> int:
        """Number of performances."""
        return self.onset.shape[0]

    @property
    def count(self) -> int:
        """Number of notes, padding included."""
        return self.onset.shape[1]

    def with_(self, **changes: Tensor | float) -> Notes:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def tensors(self) -> dict[str, Tensor]:
        """The tensor fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "length"}

    def expand(self, batch: int) -> Notes:
        """One performance repeated for `batch` candidates (no copy)."""
        return self.with_(**{key: value.expand(batch, -1) for key, value in self.tensors().items()})

    def select(self, index: Tensor) -> Notes:
        """The notes at `index` (int64, shape (chosen,)), for every batch item."""
        return self.with_(**{key: value[:, index] for key, value in self.tensors().items()})

    def to(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Notes:
        """A copy of another dtype or on another device."""
        return self.with_(**{key: value.to(device=device, dtype=dtype) for key, value in self.tensors().items()})

    def window(self, start: float, length: float, tail: float) -> Notes:
        """The notes that can sound in [start, start + length), with onsets counted from `start`.

        Args:
            start, length: [s].
            tail: [s] that a note may sound after its end.
        """
        onset, end = self.onset.detach(), (self.onset + self.duration).detach()
        sounding = (onset < start + length) & (end + tail > start) & (self.mask.detach() > 0)
        index = torch.nonzero(sounding.any(dim=0)).squeeze(-1)
        chosen = self.select(index)
        return chosen.with_(onset=chosen.onset - start, length=length)
