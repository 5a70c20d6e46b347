"""Terms of harmony: how rough simultaneous tones sound, and how clearly they are of one key."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.rater.spectrum import power_frames

FRAME_SECONDS = 0.256
"""Shorter frames do not tell the semitones of the low octaves apart."""
SILENCE_RMS = 1e-5
PARTIALS = 20
"""The strongest so many spectral peaks of a frame are its partials."""
LOWEST, HIGHEST = 60.0, 5000.0
RANGE = 1e-4
"""Power of a peak, against the strongest of its frame, under which it is no partial (-40 dB)."""

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""How well each pitch class fits a key on C (Krumhansl and Kessler 1982)."""


@term("consonance")
class Consonance(Term):
    """Minus the sensory roughness of simultaneous partials: 0 for a pure tone, about -0.1 to -0.5 for music.

        -sum over frames and pairs of a_i a_j g(f_i, f_j)  /  sum over frames and partials of a_i^2
        g(f, h) = 5 exp(-3.51 s |h - f|) - 5 exp(-5.75 s |h - f|),  s = 0.24 / (0.0207 min(f, h) + 18.96)

    g is Plomp and Levelt's curve as Sethares fitted it (JASA 94, 1993), the norm that of Hutchinson and Knopoff (1978).
    Partials are the peaks of frames of 0.256 s between 60 Hz and 5 kHz, their frequencies and amplitudes by a parabola
    through three bins, differentiable. Drums have peaks as well: it says most of audio that has a pitch.
    """

    scale = 0.02

    def measure(self, heard: Heard) -> Tensor:
        frequencies, amplitudes = partials(heard.audio, heard.sample_rate)
        rough = 0.5 * (
            amplitudes[..., :, None]
            * amplitudes[..., None, :]
            * roughness_curve(frequencies[..., :, None], frequencies[..., None, :])
        )
        return -rough.sum(dim=(1, 2, 3)) / (amplitudes.square().sum(dim=(1, 2)) + 1e-12)


def roughness_curve(one: Tensor, other: Tensor) -> Tensor:
    """Roughness of two partials of amplitude 1 at frequencies [Hz]: 0 to 0.9, most at a quarter of a critical band."""
    apart = (other - one).abs() * (0.24 / (0.0207 * torch.minimum(one, other) + 18.96))
    return 5.0 * torch.exp(-3.51 * apart) - 5.0 * torch.exp(-5.75 * apart)


def partials(audio: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Frequencies [Hz] and amplitudes of each frame's partials, (batch, frames, PARTIALS); amplitude 0 for none."""
    n_fft = _size(sample_rate) * 2  # twice the frame, for a parabola nearer the peak
    power = _power(audio, sample_rate, _low_lobes(n_fft // 2), n_fft)
    if power.shape[1] > 2:
        power = power[:, 1:-1]  # at the ends audio is mirrored, and a tone with a kink has peaks beside it
    first = max(1, int(LOWEST * n_fft / sample_rate))
    last = min(power.shape[-1] - 2, int(HIGHEST * n_fft / sample_rate))
    level = torch.log(power + 1e-14)
    left, middle, right = level[..., first - 1 : last - 1], level[..., first:last], level[..., first + 1 : last + 1]
    with torch.no_grad():
        strongest = middle.amax(dim=-1, keepdim=True)
        peak = (middle > left) & (middle >= right) & (middle > strongest + torch.log(torch.tensor(RANGE)))
        peak = peak & (middle > -18.0)
        bins = torch.where(peak, middle, -torch.inf).topk(min(PARTIALS, middle.shape[-1]), dim=-1).indices
    there = peak.gather(-1, bins)
    low, top, high = (part.gather(-1, bins) for part in (left, middle, right))
    curve = torch.where(there, low - 2.0 * top + high, -1.0).clamp_max(-1e-4)
    offset = torch.where(there, 0.5 * (low - high) / curve, 0.0)
    amplitude = torch.where(there, torch.exp(0.5 * (top - 0.25 * (low - high) * offset)), 0.0)
    return (bins + first + offset) * (sample_rate / n_fft), amplitude


@term("key")
class Key(Term):
    """Clarity of key, -1 to 1: the highest correlation of the mean chroma with the profiles of the 24 keys.

    Krumhansl and Schmuckler's key finding (Krumhansl 1990) with the profiles of Krumhansl and Kessler, on the power of
    pitch classes (librosa's chroma filters, no tuning) in frames of 0.256 s, each by its strongest class.
    """

    scale = 0.05

    def measure(self, heard: Heard) -> Tensor:
        power = _power(heard.audio, heard.sample_rate, torch.hann_window(_size(heard.sample_rate)))
        raw = power @ _chroma_filters(heard.sample_rate).to(power)
        chroma = (raw / (raw.amax(dim=-1, keepdim=True) + 1e-9)).mean(dim=1)
        return (_standard(chroma) @ _profiles().to(chroma)).amax(dim=-1)


def _standard(values: Tensor) -> Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / (centred.square().sum(dim=-1, keepdim=True) + 1e-12).sqrt()


@lru_cache(maxsize=1)
def _profiles() -> Tensor:
    """(12, 24): major on each pitch class from C, then minor."""
    rolled = [torch.roll(torch.tensor(profile), step) for profile in (MAJOR, MINOR) for step in range(12)]
    return _standard(torch.stack(rolled).double()).T


@lru_cache(maxsize=8)
def _chroma_filters(sample_rate: int) -> Tensor:
    """(bins, 12), pitch classes from C."""
    import librosa

    filters = librosa.filters.chroma(sr=sample_rate, n_fft=_size(sample_rate), tuning=0.0)
    return torch.from_numpy(filters.T.copy())


@lru_cache(maxsize=8)
def _low_lobes(length: int) -> Tensor:
    """A Blackman-Harris window: side lobes 92 dB down are no partials."""
    from scipy.signal.windows import blackmanharris

    return torch.from_numpy(blackmanharris(length, sym=False))


def _size(sample_rate: int) -> int:
    return 2 * round(FRAME_SECONDS * sample_rate / 2)


def _power(audio: Tensor, sample_rate: int, window: Tensor, n_fft: int | None = None) -> Tensor:
    """Power of frames of the middle at one level, (batch, frames, bins): a sine of the whole level has about 1."""
    level = (audio.square().mean(dim=(1, 2), keepdim=True) + SILENCE_RMS**2).sqrt()
    n_fft = n_fft or len(window)
    mono = (audio / level).mean(dim=1)
    mono = torch.nn.functional.pad(mono, (0, max(0, n_fft // 2 + 1 - mono.shape[-1])))
    power = power_frames(mono, window.to(mono), n_fft, len(window) // 2, n_fft // 2 + 1)
    return power * (4.0 / float(window.sum()) ** 2)
