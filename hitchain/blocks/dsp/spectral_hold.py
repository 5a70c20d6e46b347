"""A sound held still: a phase vocoder that goes on from one moment as if nothing had changed.

At a capture c two windows of four hops' length are heard, one hop apart, with spectra X and Y. In each bin the phase
went on by theta = arg(Y conj X) in that hop; it is let go on at that pace, so that grain m, placed at c + m hop, is

    G_m = X |Y| / sqrt((|X|^2 + |Y|^2) / 2 + FAINT^2) e^{j (m theta + smear pi r_m)}

with r_m uniform noise over +-1. What is steady keeps its magnitudes and its frequencies, which need not stand at a bin;
what has passed in either window is left out; and smear loosens the phases until only the magnitudes are left. (The
steady state of the phase vocoder: Flanagan and Golden 1966; Laroche and Dolson 1999.) Hann windows before and after
add up to 1.5 at a quarter of their length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hitchain.blocks.dsp.noise import noise, positions

OVERLAP = 4
HEARD = OVERLAP + 1
"""Hops that a capture hears: its hold begins after them."""

FAINT = 1e-7
"""Sines of this level [full scale] and below are not held: there a phase is rounding."""


def held(
    frames: Tensor, hop: int, count: int, smear: Tensor, gain: Tensor, seed: Tensor | int, captures: Tensor
) -> Tensor:
    """What each capture holds, from the end of what it heard.

    Args:
        frames: what each capture heard, (batch, channels, captures, HEARD hop).
        hop: a quarter of a window [samples].
        count: how many hops to hold.
        smear: 0 steady to 1 random phases, (batch,).
        gain: of the bins, (batch, 2 hop + 1).
        seed: of the noise in the phases; the same for all channels.
        captures: the number of each capture in the song, int64 (captures,).

    Returns:
        (batch, channels, captures, count hop). Differentiable in frames, smear and gain.
    """
    size = OVERLAP * hop
    window = torch.hann_window(size, dtype=frames.dtype, device=frames.device)
    heard = torch.fft.rfft(frames.unfold(-1, size, hop) * window)
    first, second = heard[..., 0, :], heard[..., 1, :]
    power = (first.abs().square() + second.abs().square()) / 2.0 + (FAINT * size / 4.0) ** 2
    spectrum = first * (second.abs() / power.sqrt() * gain[:, None, None, :])
    theta = torch.angle(second * first.conj())

    grains = torch.arange(
        2, count + OVERLAP + 1, device=frames.device
    )  # from the first that is heard after the capture
    uniform = _uniform(seed, captures, grains, theta)
    phase = theta.unsqueeze(-2) * grains[:, None].to(theta.dtype)
    phase = phase + (smear[:, None, None, None] * math.pi)[:, None] * uniform
    turned = spectrum.unsqueeze(-2) * torch.complex(torch.cos(phase), torch.sin(phase))
    sounding = torch.fft.irfft(turned, n=size) * (window * (1.0 / 1.5))
    quarters = sounding.unflatten(-1, (OVERLAP, hop))
    parts = [quarters[..., OVERLAP - 1 - q : OVERLAP - 1 - q + count, q, :] for q in range(OVERLAP)]
    added = torch.stack(parts).sum(dim=0).flatten(-2)
    return added * _level(smear)[:, None, None, None]


def _uniform(seed: Tensor | int, captures: Tensor, grains: Tensor, like: Tensor) -> Tensor:
    """Noise over +-1 for each capture of the song, grain and bin: (captures, grains, bins)."""
    shape = (len(captures), len(grains))
    places = positions(captures[:, None].expand(shape), grains.expand(shape))
    return noise(seed, like.shape[-1], places, like.dtype, like.device) * (1.0 / math.sqrt(3.0))


def _level(smear: Tensor) -> Tensor:
    """Makes up for the power lost where phases are random.

    Phases within +-pi smear leave sinc(smear) of the amplitude coherent. The rest of the power is spread over the
    grain, where the second window and the overlap leave (3/8 of the first)(4 * 3/8) / 1.5^2 = 1/4 of it. That holds for
    tones; noise, which is not coherent before it is smeared, comes out nearly 3 dB louder.
    """
    coherent = torch.sinc(smear).square()
    return torch.rsqrt(coherent + (1.0 - coherent) * 0.25)
