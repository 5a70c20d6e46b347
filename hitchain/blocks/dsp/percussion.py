"""Parts of struck sounds, as functions of the time since the hit: decays, swept membranes, banded noise and metal.

`strike` puts them together: on a CPU in one compiled pass with an adjoint derived by hand, elsewhere part by part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hitchain.blocks.dsp import noise
from hitchain.blocks.dsp.threads import over_rows
from hitchain.blocks.dsp.voices import Voices

RING = 1.5
"""A decay is followed for this many times its 60 dB, to -90 dB, where it is exactly 0."""
_FLOOR = 10.0 ** (-3.0 * RING)

EDGES = (150.0, 400.0, 1000.0, 2500.0, 5000.0, 8000.0, 12000.0, 18000.0)
"""[Hz] The bands of noise lie between neighbours; those of metal between the last five."""

OSCILLATORS = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)
"""[Hz] The six square waves of the TR-808's cymbal (Werner, Abel and Smith, DAFx 2014)."""

BANDS = (
    *((0, "noise"), (1, "noise"), (2, "noise"), (3, "noise"), (4, "noise"), (3, "metal"), (4, "metal")),
    *((5, "noise"), (6, "noise"), (5, "metal"), (6, "metal")),
)
"""The rows of `bands`: (band, source), dark before bright, so that what a drum needs is one run of rows."""


def decay(since: Tensor, seconds: Tensor, span: int, sample_rate: int) -> Tensor:
    """Exponential decay from 1 at time 0 by 60 dB in `seconds`, exactly 0 from `RING` times that on.

    Args:
        since: [s] of the first sample, (voices,). seconds: (voices,). Both differentiable.

    Returns:
        (voices, span); 1 before time 0.
    """
    result: Tensor = _Decay.apply(since.to(seconds), seconds, span, sample_rate)  # type: ignore[no-untyped-call]
    return result


class _Decay(torch.autograd.Function):
    """exp(-rate t) in one buffer. Its derivatives need only the sums of g e and g e t over time."""

    @staticmethod
    def forward(ctx: Any, since: Tensor, seconds: Tensor, span: int, sample_rate: int) -> Tensor:
        steps = torch.arange(span, dtype=seconds.dtype, device=seconds.device) / sample_rate
        envelope = steps + since[:, None]
        envelope.clamp_min_(0.0).mul_((-math.log(1000.0) / seconds)[:, None]).exp_().sub_(_FLOOR)
        envelope.clamp_min_(0.0).mul_(1.0 / (1.0 - _FLOOR))
        ctx.save_for_backward(envelope, since, seconds, steps)
        return envelope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        envelope, since, seconds, steps = ctx.saved_tensors
        sloping = (upstream * (envelope > 0)) * (envelope + _FLOOR / (1.0 - _FLOOR))  # g e
        early = int((-since.min().clamp_max(0.0) / steps[1]).ceil()) if len(steps) > 1 else 0
        if early:
            sloping[:, :early] *= steps[:early] + since[:, None] > 0
        sums = sloping @ torch.stack([torch.ones_like(steps), steps], dim=1)
        rate = math.log(1000.0) / seconds
        return -rate * sums[:, 0], (sums[:, 1] + since * sums[:, 0]) * rate / seconds, None, None


def rise(time: Tensor, seconds: float) -> Tensor:
    """From 0 at time 0 to 1 in `seconds`, along 3x^2 - 2x^3; 0 before."""
    x = (time / seconds).clamp(0.0, 1.0)
    curve: Tensor = x.square() * (3.0 - 2.0 * x)
    return curve


def attacked(sound: Tensor, since: Tensor, seconds: float, sample_rate: int) -> Tensor:
    """The sound (voices, span) faded in by `rise`; `since` [s], (voices,), is the time of its first sample."""
    first = min(math.ceil(seconds * sample_rate) + 1, sound.shape[-1])
    steps = torch.arange(first, dtype=sound.dtype, device=sound.device) / sample_rate
    return torch.cat([sound[:, :first] * rise(since.to(sound)[:, None] + steps, seconds), sound[:, first:]], dim=-1)


def fade(time: Tensor, seconds: float) -> Tensor:
    """1 until time 0, then exp(-(time / seconds)^2): a hand on the skin."""
    return torch.exp(-(time.clamp_min(0.0) / seconds).square())


def membrane(since: Tensor, pitch: Tensor, sweep: Tensor, seconds: Tensor, span: int, sample_rate: int) -> Tensor:
    """A sine whose pitch falls exponentially to rest, sin(2 pi phase(t)), without decay:

        f(t) = pitch * (1 + (2^(sweep / 12) - 1) exp(-t / seconds))

    the integral of which is taken in closed form, and in float64.

    Args:
        since: [s] of the first sample, float64 (voices,).
        pitch: [Hz] at rest. sweep: [semitones] above it at the start. seconds: time constant. Each (voices,).

    Returns:
        (voices, span), in the dtype of `pitch`.
    """
    depth = torch.exp2(sweep.double() / 12.0) - 1.0
    result: Tensor = _Membrane.apply(  # type: ignore[no-untyped-call]
        since, pitch.double(), depth, seconds.double(), span, sample_rate, pitch.dtype
    )
    return result


class _Membrane(torch.autograd.Function):
    """sin(2 pi c), c = p (t + d s (1 - E)), E = exp(-t / s). With G = 2 pi g cos, every derivative is a combination of
    the sums over time of G, G t, G E and G E t."""

    @staticmethod
    def forward(
        ctx: Any,
        since: Tensor,
        pitch: Tensor,
        depth: Tensor,
        seconds: Tensor,
        span: int,
        sample_rate: int,
        dtype: torch.dtype,
    ) -> Tensor:
        steps = torch.arange(span, dtype=torch.float64, device=since.device) / sample_rate
        time = steps + since[:, None]
        falling = (time / -seconds[:, None]).exp_()
        cycles = (1.0 - falling).mul_((depth * seconds)[:, None]).add_(time).mul_(pitch[:, None])
        phase = cycles.sub_(cycles.floor()).to(dtype).mul_(2.0 * math.pi)
        ctx.save_for_backward(phase.cos(), falling.to(dtype), steps.to(dtype), since, pitch, depth, seconds)
        return phase.sin()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        cosine, falling, steps, since, pitch, depth, seconds = ctx.saved_tensors
        turned = upstream * cosine
        moments = torch.stack([torch.ones_like(steps), steps], dim=1)
        plain = (turned @ moments).double() * (2.0 * math.pi)
        bent = ((turned * falling) @ moments).double() * (2.0 * math.pi)
        total, weighted = plain[:, 0], bent[:, 0]
        timed, weighted_timed = plain[:, 1] + since * total, bent[:, 1] + since * weighted
        to_pitch = timed + depth * seconds * (total - weighted)
        to_depth = pitch * seconds * (total - weighted)
        to_seconds = pitch * depth * (total - weighted - weighted_timed / seconds)
        return pitch * (total + depth * weighted), to_pitch, to_depth, to_seconds, None, None, None


def below_nyquist(frequency: Tensor, sample_rate: int) -> Tensor:
    """1 up to 0.85 of the Nyquist frequency, falling to 0 at 0.95: no partial is left to alias."""
    nyquist = sample_rate / 2.0
    return ((0.95 * nyquist - frequency) / (0.1 * nyquist)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class Bands:
    """Periodic tables of noise and metal in bands. Do not write into them: they are shared.

    Attributes:
        tables: float32 (rows, noise.PERIOD), as `BANDS` lists them. The noise rows sum to white noise of unit variance
            between the edges; so do the metal rows to the squares.
        power: float32 (rows,), the mean square of each.
        octaves: float32 (rows,), the centre of each in octaves from 5 kHz.
    """

    tables: Tensor
    power: Tensor
    octaves: Tensor


@lru_cache(maxsize=8)
def bands(seed: int, sample_rate: int) -> Bands:
    """The tables of a seed. Bands meet in raised-cosine slopes a third of an octave wide; none reaches Nyquist."""
    frequency = torch.arange(noise.PERIOD // 2 + 1, dtype=torch.float64) * (sample_rate / noise.PERIOD)
    sources = {"noise": noise.spectrum(seed).to(torch.complex128), "metal": _squares(seed, frequency)}
    top = 0.95 * sample_rate / 2.0
    shapes = {source: _slopes(frequency, EDGES[0 if source == "noise" else 3], top) for source in sources}
    for source, shape in shapes.items():
        whole = torch.fft.irfft(sources[source] * shape)
        sources[source] = sources[source] * shape / whole.square().mean().sqrt().clamp_min(1e-9)
    rows = [
        torch.fft.irfft(sources[source] * _slopes(frequency, EDGES[band], EDGES[band + 1])) for band, source in BANDS
    ]
    tables = torch.stack(rows).float()
    centres = [0.5 * math.log2(EDGES[band] * EDGES[band + 1] / 5000.0**2) for band, _ in BANDS]
    return Bands(tables, tables.square().mean(dim=-1), torch.tensor(centres))


def _slopes(frequency: Tensor, low: float, high: float) -> Tensor:
    """Magnitude of a band-pass; neighbouring bands' magnitudes sum to 1."""

    def rise(edge: float) -> Tensor:
        x = torch.log2(frequency.clamp_min(1.0) / edge) * 3.0 + 0.5
        return 0.5 - 0.5 * torch.cos(math.pi * x.clamp(0.0, 1.0))

    return rise(low) - rise(max(high, low))


def _squares(seed: int, frequency: Tensor) -> Tensor:
    """The spectrum of the six squares, each with a phase of its own: every odd harmonic below the Nyquist frequency."""
    step, last = float(frequency[1]), float(frequency[-1])
    spectrum = torch.zeros(frequency.shape, dtype=torch.complex128)
    generator = torch.Generator().manual_seed(seed & 0x7FFF_FFFF_FFFF_FFFF)
    for base, phase in zip(OSCILLATORS, torch.rand(6, generator=generator, dtype=torch.float64).tolist(), strict=True):
        harmonic = torch.arange(1.0, last / base, 2.0, dtype=torch.float64)
        index = torch.round(harmonic * base / step).long()
        turned = torch.polar(1.0 / harmonic, 2.0 * math.pi * phase * harmonic)
        spectrum.index_add_(0, index[index < len(spectrum)], turned[index < len(spectrum)])
    return spectrum


def tilted(found: Bands, shape: Tensor, tilt: Tensor) -> Tensor:
    """Weights (voices, rows) for `mix`, of unit power: `shape` with its spectrum tilted round 5 kHz.

    Args:
        shape: (voices, rows) or (rows,), 0 or more.
        tilt: [dB/octave], (voices,).
    """
    octaves, power = found.octaves.to(tilt), found.power.to(tilt)
    weight = shape * torch.exp(tilt[:, None] * octaves * (math.log(10.0) / 20.0))
    return weight / (weight.square() * power).sum(dim=-1, keepdim=True).clamp_min(1e-12).sqrt()


def mix(found: Bands, weights: Tensor, voices: Voices, position: Tensor, rows: slice, span: int) -> Tensor:
    """Each voice's own blend of bands, read from its own place: (voices, span). Differentiable in the weights.

    Args:
        weights: (voices, all rows); only those of `rows` are heard.
        position: int64 (voices,), as from `Voices.noise_position`.
        span: samples; after a voice's count there is nothing.
    """
    tables = found.tables[rows].to(weights)
    counts = voices.count.clamp_max(span).tolist()
    places = list(zip((position % noise.PERIOD).tolist(), counts, strict=True))
    result: Tensor = _Mix.apply(weights[:, rows], tables, places, span)  # type: ignore[no-untyped-call]
    return result


class _Mix(torch.autograd.Function):
    """A matrix product for each voice and each run of the circular tables; nothing is copied."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, tables: Tensor, places: list[tuple[int, int]], span: int) -> Tensor:
        ctx.tables, ctx.places = tables, places
        result = weights.new_zeros(weights.shape[0], span)
        for row, weight, place in zip(result, weights, places, strict=True):
            for at, begin, length in _runs(*place):
                torch.mv(tables[:, begin : begin + length].t(), weight, out=row[at : at + length])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        gradient = upstream.new_zeros(upstream.shape[0], ctx.tables.shape[0])
        for row, voice, place in zip(gradient, upstream, ctx.places, strict=True):
            for at, begin, length in _runs(*place):
                row += ctx.tables[:, begin : begin + length] @ voice[at : at + length]
        return gradient, None, None, None


def _runs(position: int, count: int) -> list[tuple[int, int, int]]:
    """(place in the voice, place in the table, length) of each run that does not cross the table's end."""
    runs, at = [], 0
    while at < count:
        length = min(count - at, noise.PERIOD - position)
        runs.append((at, position, length))
        at, position = at + length, 0
    return runs


@dataclass(frozen=True)
class Skin:
    """A struck membrane with its modes, under one decay.

    Attributes:
        pitch: [Hz] of each mode at rest, (voices, modes).
        weight: amplitude of each, (voices, modes).
        sweep: [semitones] above the pitch at the start, (voices,).
        sweep_time: [s], time constant of its fall.
        seconds: of the decay by 60 dB, (voices,).
    """

    pitch: Tensor
    weight: Tensor
    sweep: Tensor
    sweep_time: float
    seconds: Tensor


@dataclass(frozen=True)
class Layer:
    """Bands of noise and metal, under one decay.

    Attributes:
        weights: of each row of the tables, (voices, rows).
        used: the rows that are heard.
        position: where the tables are read from, int64 (voices,).
        seconds: of the decay by 60 dB, (voices,).
    """

    weights: Tensor
    used: tuple[int, ...]
    position: Tensor
    seconds: Tensor


def strike(
    found: Bands, voices: Voices, since: Tensor, skin: Skin | None, layers: Sequence[Layer], attack: float
) -> Tensor:
    """A struck sound: rise(t / attack) * (skin(t) + sum of layers(t)), as `attacked`, `membrane`, `decay` and `mix`.

    Args:
        since: [s] of the first sample, 0 or more, (voices,).
        attack: [s].

    Returns:
        (voices, span), silent after a voice's count. Differentiable with respect to since and to what the skin and the
        layers hold.
    """
    if since.device.type != "cpu":
        return strike_reference(found, voices, since, skin, layers, attack)
    dtype = layers[0].weights.dtype
    if skin is None:
        none = since.new_zeros(len(since), 0)
        skin = Skin(none, none, since.new_zeros(len(since)), 1.0, since.new_ones(len(since)))
    used = torch.zeros(len(layers), len(found.tables), dtype=torch.bool)
    for row, layer in zip(used, layers, strict=True):
        row[list(layer.used)] = True
    knobs = (since, skin.pitch, skin.weight, torch.exp2(skin.sweep.double() / 12.0) - 1.0, skin.seconds)
    audio: Tensor = _Strike.apply(  # type: ignore[no-untyped-call]
        *(value.double() for value in knobs),
        torch.stack([layer.weights for layer in layers], dim=1),
        torch.stack([layer.seconds.double() for layer in layers], dim=1),
        torch.stack([layer.position for layer in layers], dim=1),
        used,
        found.tables.to(dtype),
        voices.count,
        (skin.sweep_time, attack, 1.0 / voices.sample_rate),
        voices.span,
    )
    return audio


def strike_reference(
    found: Bands, voices: Voices, since: Tensor, skin: Skin | None, layers: Sequence[Layer], attack: float
) -> Tensor:
    """`strike` part by part, on any device."""
    span, rate = voices.span, voices.sample_rate
    sound = layers[0].weights.new_zeros(len(since), span)
    if skin is not None:
        modes = zip(skin.pitch.unbind(1), skin.weight.unbind(1), strict=True)
        time = torch.full_like(skin.sweep, skin.sweep_time)
        body = sum(
            (weight[:, None] * membrane(since, pitch, skin.sweep, time, span, rate) for pitch, weight in modes),
            torch.zeros_like(sound),
        )
        sound = sound + body * decay(since, skin.seconds, span, rate)
    for layer in layers:
        chosen = torch.zeros_like(layer.weights[0])
        chosen[list(layer.used)] = 1.0
        rows = slice(min(layer.used), max(layer.used) + 1)
        heard = mix(found, layer.weights * chosen, voices, layer.position, rows, span)
        sound = sound + heard * decay(since, layer.seconds, span, rate)
    return attacked(sound, since, attack, rate)


class _Strike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        *tensors, constants, span = inputs
        audio = torch.empty(len(tensors[0]), span, dtype=tensors[5].dtype)
        over_rows(_compiled().forward, len(audio), *map(_array, tensors), *constants, audio.numpy())
        ctx.save_for_backward(*tensors)
        ctx.constants = constants
        return audio

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        gradients = [torch.zeros_like(value) for value in tensors[:7]]
        arrays = (*map(_array, tensors), *ctx.constants, _array(upstream), *map(_array, gradients))
        over_rows(_compiled().backward, len(upstream), *arrays)
        return (*gradients, *[None] * 6)


def _compiled() -> Any:
    from hitchain.blocks.dsp import percussion_kernels  # slow to load, hence not before it is needed

    return percussion_kernels


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()
