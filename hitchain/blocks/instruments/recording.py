"""A recording played as it is: how existing audio enters a chain."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import Instrument
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.notes.notes import Notes
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.blocks.samples.reading import shipped
from hitchain.errors import UserError
from hitchain.files import read_audio


@register("instruments/recording")
class Recording(Instrument):
    """A sound file as recorded: y(t) = gain * sum of recording(t - onset), each until its note ends or the file does.

    On a track without notes of its own the file is played once from the song's beginning, and the song is as long as
    the file. Pitch and velocity of notes do not matter; onsets are rounded to whole samples.

    Args:
        file: WAV, FLAC, OGG or MP3; a small shipped sample by default.
        offset: [s] of the file that is skipped.
        seconds: [s] of it that is used at most; the rest where None.

    Raises:
        UserError: the file cannot be read, or `offset` leaves nothing of it.
    """

    audio: Tensor
    plays_itself = True
    """A track of it needs no notes (see `hitchain.chain.build`)."""

    parameters = (Parameter("level", -48.0, 12.0, default=0.0, unit="dB", description="0 dB is as recorded"),)
    presets: ClassVar = {"as recorded": {"level": 0.0}, "half as loud": {"level": -10.0}}

    def __init__(
        self, sample_rate: int = 44100, file: str | None = None, offset: float = 0.0, seconds: float | None = None
    ) -> None:
        super().__init__(sample_rate)
        path = shipped() if file is None else Path(file).expanduser()
        for name, value in (("offset", offset), ("seconds", 1.0 if seconds is None else seconds)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e6:
                raise UserError(f"instruments/recording: {name}={value!r} should be a number of seconds, 0 or more.")
        audio, _ = read_audio(path, sample_rate)
        first = round(offset * sample_rate)
        last = audio.shape[-1] if seconds is None else first + round(seconds * sample_rate)
        audio = audio[:, first:last]
        if audio.shape[-1] == 0:
            raise UserError(f"instruments/recording: nothing is left of {path} from offset={offset:g} s on.")
        self.register_buffer("audio", audio.contiguous(), persistent=False)

    @property
    def seconds(self) -> float:
        """How long it plays [s]."""
        return int(self.audio.shape[-1]) / self.sample_rate

    def forward(self, notes: Notes, settings: Settings) -> Tensor:  # type: ignore[override]
        level = settings["level"]
        recording = self.audio.to(level)
        samples = round(notes.length * self.sample_rate)
        out = torch.zeros(notes.batch, recording.shape[0], samples, dtype=level.dtype, device=level.device)
        onset = torch.round(notes.onset.detach() * self.sample_rate).long()
        count = torch.round(notes.duration.detach() * self.sample_rate).long()
        for item, note in torch.nonzero(notes.mask.detach() > 0).tolist():
            start = int(onset[item, note])
            first, last = max(0, -start), min(recording.shape[-1], int(count[item, note]), samples - start)
            if last > first:
                out[item, :, start + first : start + last] += recording[:, first:last]
        return out * to_gain(level)[:, None, None]
