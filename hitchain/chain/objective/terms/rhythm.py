"""How regular the rhythm is."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd

TOLERANCE = 0.02
"""[s] Onsets so near each other fall together in part: the width of the Gaussian that smooths the onset strength."""
FAINTEST = 1e-7


@term("rhythm")
class Rhythm(Term):
    """Rhythmic regularity, 0 to 1: the highest autocorrelation of the onset strength.

    The onset strength is the rise of log-mel levels from one frame of 20 ms to the next, the mean over bands (spectral
    flux; Boeck and Widmer, DAFx 2013), smoothed by 20 ms. Correlated with itself at every lag from `shortest` to
    `longest` [s], at most half the window: 1 where a pattern repeats exactly, beat or bar; about 0.2 without one.

    Args:
        shortest, longest: lags [s]. 0.25 s is 240 beats a minute.
    """

    scale = 0.05

    def __init__(self, shortest: float = 0.25, longest: float = 2.5) -> None:
        if not 0.1 <= shortest < longest <= 60.0:
            raise UserError(f"rhythm: shortest={shortest:g} and longest={longest:g} should rise, 0.1 to 60 s.")
        self.shortest, self.longest = shortest, longest

    def measure(self, heard: Heard) -> Tensor:
        onsets = onset_strength(heard.audio, heard.sample_rate)
        hop = _front_end().settings.hop_seconds
        last = min(round(self.longest / hop), onsets.shape[-1] // 2)
        first = min(round(self.shortest / hop), last - 1)
        return autocorrelation(onsets, first, last).amax(dim=-1)


def onset_strength(audio: Tensor, sample_rate: int) -> Tensor:
    """Spectral flux of (batch, channels, samples), smoothed: (batch, frames)."""
    front_end = _front_end()
    levels = front_end(audio, sample_rate)[:, 0]
    rises = (levels[..., 1:] - levels[..., :-1]).clamp_min(0.0).mean(dim=1)
    width = TOLERANCE / front_end.settings.hop_seconds
    places = torch.arange(-3, 4, dtype=rises.dtype, device=rises.device)
    kernel = torch.exp(-0.5 * (places / width).square())
    smooth: Tensor = torch.nn.functional.conv1d(rises[:, None], (kernel / kernel.sum())[None, None], padding=3)[:, 0]
    return smooth


def autocorrelation(values: Tensor, first: int, last: int) -> Tensor:
    """Of (batch, frames) about their mean, at lags `first` to `last`: (batch, lags).

    Each lag is divided by the two parts that overlap, so that a long lag is not lower for being long.
    """
    centred = values - values.mean(dim=-1, keepdim=True)
    frames = centred.shape[-1]
    spectrum = torch.fft.rfft(centred, 2 * frames)
    products = torch.fft.irfft(spectrum.real.square() + spectrum.imag.square(), 2 * frames)[:, first : last + 1]
    energy = torch.nn.functional.pad(centred.square().cumsum(dim=-1), (1, 0))
    lags = torch.arange(first, last + 1, device=values.device)
    head, tail = energy[:, frames - lags], energy[:, -1:] - energy[:, lags]
    correlation: Tensor = products / (head * tail + FAINTEST**2).sqrt()
    return correlation


@lru_cache(maxsize=1)
def _front_end() -> FrontEnd:
    return FrontEnd()
