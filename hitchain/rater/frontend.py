"""Audio -> level-normalised log-mel frames of the middle and the side: what every rating network hears."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn

from hitchain.rater.spectrum import power_frames

LOWEST_SAMPLE_RATE = 8_000
HIGHEST_SAMPLE_RATE = 192_000
SILENCE_RMS = 1e-5
"""Root-mean-square level (-100 dBFS) under which audio fades into silence instead of being turned up."""


@dataclass(frozen=True)
class FrontEndSettings:
    """Sizes of the log-mel front end; they travel with the weights."""

    window_seconds: float = 0.064
    hop_seconds: float = 0.02
    mel_bands: int = 80
    lowest: float = 30.0
    highest: float = 15_500.0
    floor_db: float = -70.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class FrontEnd(nn.Module):
    """Log-mel power of mid = (left + right) / 2 and side = (left - right) / 2, after level normalisation.

    The audio x is divided by sqrt(mean(x^2) + SILENCE_RMS^2) over all its channels and samples, so that a fader does
    not change the rating and silence stays silence. With P_k the power in mel band k relative to the whole, a frame is
    (10 log10(P_k + 10^(floor/10)) - floor) / |floor|: 0 where a band is empty, 1 where it holds everything. The floor
    inside the logarithm and the power spectrum keep gradients finite, silence included.

    Analysis runs at the audio's own sample rate with windows, hops and mel bands stated in seconds and Hz. That gives
    the same frames at every rate without the cost of resampling; bands above a low rate's Nyquist frequency stay
    empty, as they would after resampling.

    The gradient has no gradient of its own, unless `twice_differentiable` asks for it (see `power_frames`).

    Shape:
        - audio: (batch, channels, samples), channels 1 or 2
        - output: (batch, 2, mel_bands, frames)
    """

    def __init__(self, settings: FrontEndSettings | None = None, twice_differentiable: bool = False) -> None:
        super().__init__()
        self.settings = settings or FrontEndSettings()
        self.twice_differentiable = twice_differentiable

    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        level = torch.sqrt(audio.square().mean(dim=(1, 2), keepdim=True) + SILENCE_RMS**2)
        return self.frames(audio / level, sample_rate)

    def frames(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The frames of audio whose level was normalised before, such as a part of a long recording."""
        settings = self.settings
        left, right = audio[:, 0], audio[:, -1]
        signals = torch.stack([(left + right) / 2, (left - right) / 2], dim=1)
        power = self._power_spectrum(signals, sample_rate)
        filters = _mel_filters(settings, sample_rate, power.shape[-1]).to(power)
        mel = (power @ filters).transpose(-1, -2)
        floor = 10.0 ** (settings.floor_db / 10.0)
        return (10.0 * torch.log10(mel + floor) - settings.floor_db) / abs(settings.floor_db)

    def _power_spectrum(self, signals: Tensor, sample_rate: int) -> Tensor:
        """One-sided power (batch, channels, frames, bins), its sum over the bins the mean square of a steady signal."""
        window_length, n_fft, hop = sizes(self.settings, sample_rate)
        window = torch.hann_window(window_length, dtype=signals.dtype, device=signals.device)
        batch, channels, samples = signals.shape
        used = min(n_fft // 2 + 1, int(self.settings.highest * n_fft / sample_rate) + 2)
        flat = signals.reshape(batch * channels, samples)
        power = power_frames(flat, window, n_fft, hop, used, self.twice_differentiable)
        power = power * (2.0 / (n_fft * window.square().sum()))
        return power.reshape(batch, channels, -1, used)


def sizes(settings: FrontEndSettings, sample_rate: int) -> tuple[int, int, int]:
    """Window, FFT (even, a product of small primes) and hop, in samples."""
    import scipy.fft

    window = round(settings.window_seconds * sample_rate)
    n_fft = int(scipy.fft.next_fast_len((window + 1) // 2, real=True)) * 2
    return window, n_fft, max(1, round(settings.hop_seconds * sample_rate))


@lru_cache(maxsize=32)
def _mel_filters(settings: FrontEndSettings, sample_rate: int, bins: int) -> Tensor:
    """Triangular HTK mel filters (bins, mel_bands), each with the same area in Hz at every sample rate."""
    _, n_fft, _ = sizes(settings, sample_rate)
    all_bins = n_fft // 2 + 1
    bin_width = sample_rate / n_fft
    # The filters are laid out up to the highest mel edge whatever the rate; bins above Nyquist are then cut away.
    needed = max(all_bins, int(settings.highest / bin_width) + 2)
    # Kept for the next caller, who may want gradients: never made as an inference tensor, whoever asks first.
    with torch.inference_mode(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # narrow bands may fall between two bins; their area is set right below
        filters: Tensor = torchaudio.functional.melscale_fbanks(
            n_freqs=needed,
            f_min=settings.lowest,
            f_max=settings.highest,
            n_mels=settings.mel_bands,
            sample_rate=round(2 * (needed - 1) * bin_width),
        )
        edges = _mel_edges(settings)
        area = (edges[2:] - edges[:-2]) / 2.0 / bin_width
        filters = filters * (area / filters.sum(0).clamp_min(1e-3))
        return filters[:bins]


def _mel_edges(settings: FrontEndSettings) -> Tensor:
    """The mel_bands + 2 corner frequencies [Hz]: mel(f) = 2595 log10(1 + f / 700) (O'Shaughnessy 1987)."""
    low, high = (2595.0 * torch.log10(torch.tensor(1.0 + f / 700.0)) for f in (settings.lowest, settings.highest))
    edges: Tensor = 700.0 * (10.0 ** (torch.linspace(float(low), float(high), settings.mel_bands + 2) / 2595.0) - 1.0)
    return edges


def mel_centres(settings: FrontEndSettings) -> Tensor:
    """The centre frequency of each band [Hz]: (mel_bands,)."""
    return _mel_edges(settings)[1:-1]
