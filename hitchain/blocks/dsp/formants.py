"""The envelope of a spectrum, by its cepstrum, and giving one signal that of another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

WINDOW = 0.024
SMOOTHEST = 0.0018
"""Length of a frame, and the quefrency up to which the cepstrum is the envelope's [s]."""

MOST = 24.0
"""The largest correction [dB]; it is neared smoothly."""

FLOOR = 1e-6


def with_formants_of(source: Tensor, shifted: Tensor, sample_rate: int) -> Tensor:
    """`shifted` filtered, frame by frame, so that its spectral envelope is that of `source`.

    Args:
        source, shifted: (batch, channels, samples).
    """
    n_fft = 1 << math.ceil(math.log2(WINDOW * sample_rate))
    window = torch.hann_window(n_fft, dtype=source.dtype, device=source.device)

    def frames(audio: Tensor) -> Tensor:
        rows = torch.nn.functional.pad(audio.flatten(0, 1), (n_fft, n_fft))
        spectrum: Tensor = torch.stft(rows, n_fft, n_fft // 4, window=window, return_complex=True)
        return spectrum

    spectrum = frames(shifted)
    kept = round(SMOOTHEST * sample_rate)
    difference = _log_envelope(frames(source), kept) - _log_envelope(spectrum, kept)
    most = MOST * math.log(10.0) / 20.0
    gain = torch.exp(most * torch.tanh(difference / most))
    length = source.shape[-1] + 2 * n_fft
    rows = torch.istft(spectrum * gain, n_fft, n_fft // 4, window=window, length=length)
    return rows[:, n_fft:-n_fft].view(shifted.shape)


def _log_envelope(spectrum: Tensor, kept: int) -> Tensor:
    """log |X| without what lies beyond the quefrency: (rows, bins, frames)."""
    power = spectrum.real.square() + spectrum.imag.square()
    cepstrum = torch.fft.irfft(0.5 * torch.log(power + FLOOR), dim=1)
    index = torch.arange(cepstrum.shape[1], device=spectrum.device)
    lifter = (torch.minimum(index, cepstrum.shape[1] - index) < kept).to(cepstrum.dtype)
    envelope: Tensor = torch.fft.rfft(cepstrum * lifter[:, None], dim=1).real
    return envelope
