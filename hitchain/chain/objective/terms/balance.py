"""The balance of bass, middle and treble against a curve."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.errors import UserError, nearest
from hitchain.rater.spectrum import power_frames

FRAME_SECONDS = 0.37
FAINTEST = 1e-8
"""Power under which a band counts as this, as a share of the whole (-80 dB)."""
SILENCE = 1e-12

SLOPES = {"pink": (0.0, 31.5, 16_000.0), "popular": (-2.0, 100.0, 4000.0)}
"""Built-in curves: the slope of third-octave bands [dB per octave], and the range in which it holds [Hz]."""


@term("spectral_balance")
class SpectralBalance(Term):
    """Mean squared distance of the long-term average spectrum from a curve [dB^2]: less is nearer, so its weight is
    negative.

    mean over bands of (L - R - mean(L - R))^2, L and R the levels of third-octave bands (IEC 61260-1) [dB]: the level
    itself does not count. The spectrum is the mean power of Hann-windowed frames of 0.37 s.

    Args:
        curve: "pink": the same level in every band, 31.5 Hz to 16 kHz. "popular": the average of 772 number one
            singles, whose spectral density falls by 5 dB per octave from 100 Hz to 4 kHz (Pestana, Ma, Reiss, Barbosa
            and Black, Spectral characteristics of popular commercial recordings 1950-2010, AES 135, 2013), hence bands
            by 2 dB per octave; outside that range it says nothing, and nothing counts.
        file: a recording whose own spectrum is the curve, instead.
        low, high: the lowest and highest band that count [Hz]; the curve's own where None.
    """

    unit = "dB^2"
    scale = 5.0

    def __init__(
        self, curve: str = "pink", file: str | None = None, low: float | None = None, high: float | None = None
    ) -> None:
        if curve not in SLOPES:
            raise UserError(f"spectral_balance.curve={curve!r}; {nearest(str(curve), SLOPES)}")
        self.slope, lowest, highest = SLOPES[curve] if file is None else (0.0, 31.5, 16_000.0)
        self.low, self.high = (float(lowest if low is None else low), float(highest if high is None else high))
        if not 20.0 <= self.low < self.high <= 20_000.0:
            raise UserError(f"spectral_balance: low={self.low:g} and high={self.high:g} should rise, 20 to 20000 Hz.")
        self.file = None if file is None else str(file)
        self._measured: dict[int, Tensor] = {}
        if self.file is not None:
            self._reference(44_100)  # a file that cannot be read is said at once

    def measure(self, heard: Heard) -> Tensor:
        levels = band_levels(heard.audio, heard.sample_rate, self.low, self.high)
        apart = levels - self._reference(heard.sample_rate).to(levels)
        return (apart - apart.mean(dim=-1, keepdim=True)).square().mean(dim=-1)

    def _reference(self, sample_rate: int) -> Tensor:
        """The curve at the bands: (bands,) [dB]."""
        if sample_rate not in self._measured:
            if self.file is None:
                centres = torch.tensor(band_centres(self.low, self.high, sample_rate), dtype=torch.float64)
                self._measured[sample_rate] = self.slope * torch.log2(centres / 1000.0)
            else:
                from hitchain.files import read_audio

                audio, _ = read_audio(self.file, sample_rate)
                self._measured[sample_rate] = band_levels(audio[None], sample_rate, self.low, self.high)[0]
        return self._measured[sample_rate]


def band_centres(low: float, high: float, sample_rate: int) -> list[float]:
    """Centres of the third-octave bands from `low` to `high` that lie under half the sample rate [Hz], base ten."""
    first, last = math.ceil(10.0 * math.log10(low) - 0.1), math.floor(10.0 * math.log10(high) + 0.1)
    centres = [10.0 ** (index / 10.0) for index in range(first, last + 1)]
    return [centre for centre in centres if centre * 10.0**0.05 <= sample_rate / 2]


def band_levels(audio: Tensor, sample_rate: int, low: float, high: float) -> Tensor:
    """Long-term average levels of third-octave bands, channels added up: (batch, bands) [dB]."""
    batch, channels, samples = audio.shape
    n_fft = 1 << round(math.log2(FRAME_SECONDS * sample_rate))
    audio = torch.nn.functional.pad(audio, (0, max(0, n_fft // 2 + 1 - samples)))
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    power = power_frames(audio.flatten(0, 1), window, n_fft, n_fft // 2, n_fft // 2 + 1).mean(dim=1)
    power = power.reshape(batch, channels, -1).sum(dim=1) * (2.0 / (n_fft * float(window.square().sum())))
    bands = power @ _bands(n_fft, sample_rate, low, high).to(power)
    floor = FAINTEST * power.sum(dim=-1, keepdim=True) + SILENCE
    return 10.0 / math.log(10.0) * torch.log(bands + floor)


@lru_cache(maxsize=8)
def _bands(n_fft: int, sample_rate: int, low: float, high: float) -> Tensor:
    """What part of each bin lies in each band: (bins, bands)."""
    width = sample_rate / n_fft
    hertz = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None] * width
    centres = torch.tensor(band_centres(low, high, sample_rate), dtype=torch.float64)
    top = torch.minimum(hertz + width / 2, centres * 10.0**0.05)
    bottom = torch.maximum(hertz - width / 2, centres * 10.0**-0.05)
    return ((top - bottom) / width).clamp(0.0, 1.0)
