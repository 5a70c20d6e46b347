"""What every distortion shares: to a higher rate, through a nonlinear stage, and back, filtered on the way.

    audio -> before -> oversample -> shape -> decimate -> after

Both filters and both edges of the resampling are products with one spectrum, so that a distortion costs two transforms
there and two back, whatever is filtered. Long audio is distorted in stretches: memory would else hold the whole at the
higher rate.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from hitchain.blocks.dsp import resampling, waveshaping
from hitchain.blocks.dsp.circuits import rational
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.oversampling import to_samples, to_spectrum

Respond = Callable[[Tensor], Tensor]
"""Frequencies [Hz], (bins,) -> complex response, (batch or 1, 1, bins) or (bins,)."""

LEAD = resampling.PADDING // 2
"""Samples of silence put before the signal, for what oversampling rings ahead of its first sample."""

STRETCH = 16.0
"""Long audio is distorted so many seconds at a time, each after a preroll that is heard again."""


def distort(
    audio: Tensor,
    shape: Callable[[Tensor], Tensor],
    sample_rate: int,
    factor: int,
    *,
    before: Respond | None = None,
    after: Respond | None = None,
    means: int = 0,
    tail: float = 0.0,
    memory: float = 0.0,
) -> Tensor:
    """Audio through a nonlinear stage at `factor` times the sample rate.

    Args:
        audio: (batch, channels, samples).
        shape: what is done to the audio at the higher rate, (batch, channels, samples * factor); silence at rest.
        before, after: filters at the session's rate, causal.
        means: antialiased stages in `shape`, whose delay and droop are undone (`waveshaping.mean_inverse`).
        tail: seconds in which the filters die away.
        memory: seconds in which the stage forgets what was before.

    Returns:
        (batch, channels, samples), not late.
    """
    samples, stretch = audio.shape[-1], round(STRETCH * sample_rate)
    preroll = round((tail + memory) * sample_rate) + resampling.PADDING

    def whole(piece: Tensor) -> Tensor:
        return _distort(piece, shape, sample_rate, factor, before, after, means, round(tail * sample_rate))

    if samples <= stretch + preroll:
        return whole(audio)
    pieces = []
    for start in range(0, samples, stretch):
        begin, end = max(0, start - preroll), min(start + stretch, samples)
        piece = whole(audio[..., begin : min(end + resampling.PADDING, samples)])
        pieces.append(piece[..., start - begin : end - begin])
    return torch.cat(pieces, dim=-1)


def _distort(
    audio: Tensor,
    shape: Callable[[Tensor], Tensor],
    sample_rate: int,
    factor: int,
    before: Respond | None,
    after: Respond | None,
    means: int,
    tail: int,
) -> Tensor:
    samples = audio.shape[-1]
    n_fft = fast_length(LEAD + samples + resampling.PADDING + tail)
    up, down = _edges(n_fft, factor, means, audio.dtype, audio.device)
    hertz = frequencies(n_fft, sample_rate, like=audio)
    spectrum = to_spectrum(pad(audio, (LEAD, n_fft - samples - LEAD)), n_fft, 1)
    spectrum = spectrum * (up if before is None else up * before(hertz))
    level = shape(to_samples(spectrum, n_fft, factor))
    spectrum = to_spectrum(level, n_fft, factor) * (down if after is None else down * after(hertz))
    return to_samples(spectrum, n_fft, 1)[..., LEAD : LEAD + samples]


@lru_cache(maxsize=8)
def _edges(n_fft: int, factor: int, means: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The resampling's edge on the way up and down, and what undoes the antialiased stages: complex (bins,)."""
    with torch.inference_mode(False):  # what is kept must also serve a later backward pass
        like = torch.zeros((), dtype=torch.float64, device=device)
        edge = resampling.edge(n_fft, like)
        undone = waveshaping.mean_inverse(n_fft, factor, means, like)
        up, down = edge * factor + 0j, undone * edge / factor
        return up.to(dtype.to_complex()), down.to(dtype.to_complex())


def blocking(hertz: Tensor, corner: float) -> Tensor:
    """A one-pole high-pass at `corner` [Hz], which takes out the DC that uneven clipping makes: complex (bins,)."""
    ratio = hertz / corner
    return torch.complex(ratio.square(), ratio) / (1.0 + ratio.square())


def low_pass(hertz: Tensor, corner: Tensor) -> Tensor:
    """A one-pole low-pass, 1 / (1 + j f / corner): (batch,) -> complex (batch, 1, bins)."""
    ratio = hertz / corner[:, None, None]
    return torch.complex(torch.ones_like(ratio), -ratio) / (1.0 + ratio.square())


def high_pass(hertz: Tensor, corner: Tensor) -> Tensor:
    """A one-pole high-pass, j f / (corner + j f): (batch,) -> complex (batch, 1, bins)."""
    ratio = hertz / corner[:, None, None]
    return torch.complex(ratio.square(), ratio) / (1.0 + ratio.square())


def network(hertz: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """A circuit by the coefficients that `circuits.rational` takes, (batch, n): complex (batch, 1, bins)."""
    return rational(numerator, denominator, hertz).unsqueeze(1)


def noise_gain(curve: Callable[[Tensor], Tensor], like: Tensor, nominal: float) -> Tensor:
    """By how much a curve without memory raises Gaussian noise, worked out on its 64 quantiles.

    Args:
        curve: (1, 64) -> (batch, 64).
        like: of the type and device to work in.
        nominal: RMS of the noise.

    Returns:
        (batch,): the RMS that comes out, without DC, against that which goes in.
    """
    quantiles = (torch.arange(64, dtype=torch.float64) + 0.5) / 64
    raised: Tensor = curve((nominal * torch.special.ndtri(quantiles)).to(like)[None]).std(dim=-1, correction=0)
    return raised / nominal


def default_oversampling(sample_rate: int) -> int:
    """What takes a stage to 160 kHz, at most 8."""
    return min(8, -(-160_000 // sample_rate))
