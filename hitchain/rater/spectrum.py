"""The power spectrum of overlapping frames, with a backward pass of real transforms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def power_frames(
    signals: Tensor, window: Tensor, n_fft: int, hop: int, used: int, twice_differentiable: bool = False
) -> Tensor:
    """|FFT(window x frame)|^2 of frames every `hop` samples, the first centred on the first sample.

    The same numbers as `torch.stft(..., center=True, pad_mode="reflect")` squared, whose gradient goes through complex
    transforms of twice the size.

    Args:
        signals: (rows, samples), more than n_fft // 2 samples.
        window: (length,), length <= n_fft; it stands in the middle of the frame.
        n_fft: even.
        used: how many of the bins, from 0 Hz up.
        twice_differentiable: let PyTorch derive the gradient, which then has one itself, as a penalty on gradients
            needs; slower.

    Returns:
        (rows, frames, used). Differentiable in the signals, once or twice.
    """
    lead = (n_fft - window.shape[-1]) // 2
    centred = torch.nn.functional.pad(window, (lead, n_fft - window.shape[-1] - lead))
    padded = torch.nn.functional.pad(signals[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0]
    if twice_differentiable:
        spectrum = torch.fft.rfft(padded.unfold(-1, n_fft, hop) * centred)[..., :used]
        derived: Tensor = spectrum.real.square() + spectrum.imag.square()
        return derived
    power: Tensor = _PowerFrames.apply(padded, centred, hop, used)  # type: ignore[no-untyped-call]
    return power


class _PowerFrames(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, window: Tensor, hop: int, used: int) -> Tensor:
        spectrum = torch.fft.rfft(padded.unfold(-1, window.shape[-1], hop) * window)[..., :used].contiguous()
        ctx.save_for_backward(spectrum, window)
        ctx.samples, ctx.hop = padded.shape[-1], hop
        power: Tensor = spectrum.real.square() + spectrum.imag.square()
        return power

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        spectrum, window = ctx.saved_tensors
        n_fft = window.shape[-1]
        outcome = spectrum * grad
        outcome[..., 0] *= 2.0  # an inverse real transform counts the others twice, for their mirror images
        if outcome.shape[-1] == n_fft // 2 + 1:
            outcome[..., -1] *= 2.0
        frames = torch.fft.irfft(outcome, n=n_fft, norm="forward") * window
        return _overlap_add(frames, ctx.hop, ctx.samples), None, None, None


def _overlap_add(frames: Tensor, hop: int, samples: int) -> Tensor:
    """(rows, frames, n_fft), each `hop` later than the one before -> (rows, samples)."""
    rows, count, n_fft = frames.shape
    pieces = -(-n_fft // hop)
    pieces_of = torch.nn.functional.pad(frames, (0, pieces * hop - n_fft)).view(rows, count, pieces, hop)
    total = frames.new_zeros(rows, count + pieces - 1, hop)
    for piece in range(pieces):
        total[:, piece : piece + count] += pieces_of[:, :, piece]
    total = total.flatten(1)
    return torch.nn.functional.pad(total, (0, max(0, samples - total.shape[-1])))[:, :samples]
