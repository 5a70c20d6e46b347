"""Polyphony: every note a voice, computed over its own stretch of samples only, voices of like length together.

def voice(voices):                                    # some of the notes
    time = voices.time(notes.onset)                   # (voices, span) [s] since each onset
    return voices.of(gain)[:, None] * envelope(time) * ...

audio = render(notes, sample_rate, tail, voice)       # (batch, 1, samples)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp.noise import positions
from hitchain.blocks.notes.notes import Notes

GROWTH = 2.0**0.25
"""Ratio of the spans of neighbouring buckets: a voice is padded by less than this."""

RAGGED_GROWTH = 4.0
"""The same where the padding is memory that is asked for and never touched."""

SHORTEST = 8.0
"""log2 of the samples up to which all voices share a bucket."""

GROUP = 1 << 22
"""Samples, padding included, that are computed at a time: a song of a thousand notes needs no more memory than this."""


@dataclass(frozen=True)
class Voices:
    """Notes that are computed together as tensors (voices, span). Column n of voice v is sample start[v] + n.

    Attributes:
        row, column: int64 (voices,): which batch item and which of its notes.
        start: int64 (voices,): first sample of the voice within the window.
        count: int64 (voices,): samples that will be heard; what a voice computes after them is discarded.
        span: the largest count, rounded up.
        sample_rate: [Hz].
    """

    row: Tensor
    column: Tensor
    start: Tensor
    count: Tensor
    span: int
    sample_rate: int

    def of(self, value: Tensor) -> Tensor:
        """Each voice's own value, (voices,), from (batch,) or (batch, notes). Differentiable."""
        return value[self.row] if value.ndim == 1 else value[self.row, self.column]

    def since(self, onset: Tensor) -> Tensor:
        """Seconds from the onset to the voice's first sample: float64 (voices,), exact below one sample.

        Args:
            onset: (batch, notes) [s]. Differentiable.
        """
        return self.start.double() / self.sample_rate - self.of(onset).double()

    def time(self, onset: Tensor) -> Tensor:
        """Seconds since the onset at every sample: float64 (voices, span), so that phases stay in tune.

        Args:
            onset: (batch, notes) [s]. Differentiable.
        """
        steps = torch.arange(self.span, dtype=torch.float64, device=self.start.device) / self.sample_rate
        return self.since(onset)[:, None] + steps

    def noise_position(self, notes: Notes, stream: int = 0) -> Tensor:
        """Where in the noise each voice's first column reads: int64 (voices,), for `noise` and `read`.

        It follows the note (told by its beat and pitch) and the samples since its onset: every window of a song hears
        the same noise in the same place, and the notes of a chord hear different ones. The whole-sample delay turns
        over away from whole and half samples, where written onsets lie.
        """
        key = positions(self.of(notes.beat), torch.round(self.of(notes.pitch.detach())), stream=stream)
        begun = torch.floor(self.of(notes.onset).detach().double() * self.sample_rate + 0.618).to(torch.int64)
        return key + self.start - begun


def render(
    notes: Notes,
    sample_rate: int,
    tail: Tensor | float,
    voice: Callable[[Voices], Tensor],
    dtype: torch.dtype | None = None,
    chosen: Tensor | None = None,
    ragged: bool = False,
) -> Tensor:
    """Play notes: each voice over its own stretch of samples, added up.

    A voice lasts from its onset until `tail` after its note's end, and should be silent at both ends, since a sample
    just outside is left out. Notes of mask 0 are left out; the mask is not applied (it is the voice's to weigh with).

    Args:
        tail: [s] that a note sounds after its end: a number, (batch,) or (batch, notes). Its gradient is not used.
        voice: is called for some of the notes at a time; returns their audio (voices, span), or (voices, <= span).
        dtype: of the result where nothing sounds; default that of the onsets.
        chosen: bool (batch, notes): play these only.
        ragged: the voice computes no more than each one's own count of samples, so voices of all lengths may go
            together.

    Returns:
        (batch, 1, round(notes.length * sample_rate)), deterministic whatever the number of threads.
    """
    samples = round(notes.length * sample_rate)
    audio = torch.zeros(notes.batch, samples, dtype=dtype or notes.onset.dtype, device=notes.onset.device)
    for voices in allocate(notes, sample_rate, tail, chosen, RAGGED_GROWTH if ragged else GROWTH):
        audio = overlap_add(audio, voice(voices), voices)
    return audio[:, None, :]


def allocate(
    notes: Notes, sample_rate: int, tail: Tensor | float, chosen: Tensor | None = None, growth: float = GROWTH
) -> Iterator[Voices]:
    """The sounding notes in groups of like length, each bucket's at most `growth` times the next shorter one's, and of
    no more than `GROUP` samples (or one note)."""
    samples = round(notes.length * sample_rate)
    onset, end = notes.onset.detach().double(), (notes.onset.detach().double() + notes.duration.detach().double())
    tail = torch.as_tensor(tail, device=onset.device).detach().double()
    start = torch.ceil(onset * sample_rate).clamp_min(0).to(torch.int64)
    stop = torch.ceil((end + (tail[:, None] if tail.ndim == 1 else tail)) * sample_rate).clamp_max(samples)
    count = stop.to(torch.int64) - start
    sounding = (count > 0) & (notes.mask.detach() > 0)
    if chosen is not None:
        sounding = sounding & chosen
    row, column = torch.nonzero(sounding, as_tuple=True)
    start, count = start[row, column], count[row, column]
    bucket = (
        torch.ceil(torch.log(count.double()) / math.log(growth)).clamp_min(SHORTEST / math.log2(growth)).to(torch.int64)
    )
    for size in sorted(set(bucket.tolist())):
        of_size = torch.nonzero(bucket == size).squeeze(-1)
        for group in torch.split(of_size, max(1, GROUP // int(count[of_size].max()))):
            yield Voices(
                row=row[group],
                column=column[group],
                start=start[group],
                count=count[group],
                span=int(count[group].max()),
                sample_rate=sample_rate,
            )


def overlap_add(onto: Tensor, audio: Tensor, voices: Voices) -> Tensor:
    """Add each voice's first `count` samples to its batch item at `start`, in place.

    Args:
        onto: (batch, samples), to be written to; not a leaf that wants gradients.
        audio: (voices, <= span).

    Returns:
        `onto`. Differentiable with respect to what it held, and to the audio.
    """
    places = list(zip(voices.row.tolist(), voices.start.tolist(), voices.count.tolist(), strict=True))
    result: Tensor = _OverlapAdd.apply(onto, audio, places)  # type: ignore[no-untyped-call]
    return result


def read(tables: Tensor, row: Tensor, position: Tensor, span: int) -> Tensor:
    """Stretches of periodic tables, such as coloured noise. Differentiable with respect to the tables.

    Args:
        tables: (rows, period).
        row, position: int64 (voices,): which table, and where to begin (any integer: a table is read in a circle).

    Returns:
        (voices, span).
    """
    period = tables.shape[-1]
    places = list(zip(row.tolist(), (position % period).tolist(), strict=True))
    result: Tensor = _Read.apply(tables, places, span)  # type: ignore[no-untyped-call]
    return result


Places = list[tuple[int, int, int]]


class _OverlapAdd(torch.autograd.Function):
    """One voice after the other, in order: no race, so the same bytes whatever the number of threads."""

    @staticmethod
    def forward(ctx: Any, onto: Tensor, audio: Tensor, places: Places) -> Tensor:
        ctx.places, ctx.shape = places, audio.shape
        ctx.mark_dirty(onto)
        for voice, (row, start, count) in zip(audio, places, strict=True):
            count = min(count, voice.shape[-1])
            onto[row, start : start + count] += voice[:count]
        return onto

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = upstream.new_empty(ctx.shape)
        for voice, (row, start, count) in zip(gradient, ctx.places, strict=True):
            count = min(count, voice.shape[-1])
            voice[:count] = upstream[row, start : start + count]
            voice[count:] = 0
        return upstream, gradient, None


class _Read(torch.autograd.Function):
    """Copies of slices, turn by turn where a stretch is longer than the table."""

    @staticmethod
    def forward(ctx: Any, tables: Tensor, places: list[tuple[int, int]], span: int) -> Tensor:
        ctx.places, ctx.shape = places, tables.shape
        result = tables.new_empty(len(places), span)
        for voice, (row, position) in zip(result, places, strict=True):
            for at, begin, length in _turns(position, span, tables.shape[-1]):
                voice[at : at + length] = tables[row, begin : begin + length]
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        gradient = upstream.new_zeros(ctx.shape)
        for voice, (row, position) in zip(upstream, ctx.places, strict=True):
            _unread(gradient[row], position, voice)
        return gradient, None, None


def read_backward(tables: Tensor, row: Tensor, position: Tensor, count: Tensor, upstream: Tensor) -> Tensor:
    """The gradient of the tables where each voice has read `count` samples as `read` does: (rows, period)."""
    gradient = torch.zeros_like(tables)
    for voice, *place in zip(upstream, row.tolist(), position.tolist(), count.tolist(), strict=True):
        _unread(gradient[place[0]], place[1] % tables.shape[-1], voice[: place[2]])
    return gradient


def _unread(gradient: Tensor, position: int, voice: Tensor) -> None:
    for at, begin, length in _turns(position, voice.shape[-1], gradient.shape[-1]):
        gradient[begin : begin + length] += voice[at : at + length]


def _turns(position: int, span: int, period: int) -> Iterator[tuple[int, int, int]]:
    """(place in the stretch, place in the table, length) of each run that does not cross the table's end."""
    at = 0
    while at < span:
        length = min(span - at, period - position)
        yield at, position, length
        at, position = at + length, 0
