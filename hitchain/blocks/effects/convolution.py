"""Reverberation by convolution with an impulse response."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp import filters, noise
from hitchain.blocks.dsp.fft import fast_length, rfft
from hitchain.blocks.dsp.resampling import resample
from hitchain.blocks.dsp.spiral import Circle
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError, nearest
from hitchain.files import read_audio

LONGEST = 12.0
"""The longest impulse response that is taken [s]."""

SMALLEST, LARGEST = 0.5, 1.5
"""Of the knob `size`."""

PLACES = {"chamber": (1.1, 0.7, 0.004, 11), "hall": (2.4, 1.1, 0.018, 23)}
"""The impulse responses made here: decay of low and of high frequencies [s], first reflection [s], seed."""


@register("effects/convolution")
class Convolution(LinearBlock):
    """Convolution with an impulse response h, whose decay, size and tone can be turned.

        y = cos(pi/2 mix) x + sin(pi/2 mix) (T h') * x(t - pre_delay),  h'(t) = h(t / size) e^{-ln(1000) loss(t) t}

    with T a low shelf at 250 Hz and a high shelf at 4 kHz (Audio EQ Cookbook). h(t / size) is read between samples by a
    cubic. `decay` is the share of its reverberation time that is left: loss = (1 / decay - 1) / T60, T60 that of the
    recording by Schroeder's integration (1965), so that 1 leaves it as it is. h is scaled to unit energy, so that white
    noise leaves as loud as it came. A stereo response makes stereo.

    Args:
        sample_rate: [Hz].
        impulse: "chamber" or "hall" (made here: noise that decays, the higher the faster), or the path of a WAV, FLAC,
            OGG or MP3 file of at most 12 s.

    Raises:
        UserError: the file is missing, not audio, silent or too long.
    """

    parameters = (
        Parameter("decay", 0.1, 1.0, default=1.0, scale="log", description="share of its reverberation time"),
        Parameter("size", SMALLEST, LARGEST, default=1.0, scale="log", description="stretches the response"),
        Parameter("low", -18.0, 6.0, default=-3.0, unit="dB", description="of the reverberation below 250 Hz"),
        Parameter("high", -18.0, 6.0, default=0.0, unit="dB", description="of the reverberation above 4 kHz"),
        Parameter("pre_delay", 0.0, 200.0, default=8.0, unit="ms", description="before the reverberation begins"),
        Parameter("mix", 0.0, 1.0, default=0.2, description="0 dry, 1 reverberation only"),
    )
    presets: ClassVar = {
        "natural": {"mix": 0.2},
        "tight and dark": {"decay": 0.4, "size": 0.8, "high": -6.0, "mix": 0.25},
        "far away": {"size": 1.4, "high": -4.0, "low": -8.0, "pre_delay": 40.0, "mix": 0.5},
    }
    probe: ClassVar[dict[str, float]] = {"mix": 0.6, "decay": 0.7}
    kernel: Tensor

    def __init__(self, sample_rate: int = 44100, impulse: str = "chamber") -> None:
        super().__init__(sample_rate)
        kernel = _made(impulse, sample_rate) if impulse in PLACES else _read(impulse, sample_rate)
        self.register_buffer("kernel", kernel / kernel.square().sum(dim=-1).mean().sqrt(), persistent=False)
        self.rt60 = _reverberation_time(kernel, sample_rate)

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        kernel, mix = self._shaped(settings), settings["mix"]
        circle = Circle(n_fft)
        late = circle.delay(settings["pre_delay"].double() * (self.sample_rate / 1000.0), mix.dtype)
        low, high = (self._shelf(settings[key], kind, hertz) for key, kind, hertz in _SHELVES)
        sections = torch.stack([low[0], high[0]], dim=1), torch.stack([low[1], high[1]], dim=1)
        shape = late * circle.edge(mix) * filters.sections_response(*sections, n_fft, mix.dtype)
        angle = mix[:, None, None] * (math.pi / 2.0)
        wet = rfft(kernel[..., :n_fft], n_fft) * shape[:, None]
        return torch.cos(angle) + torch.sin(angle) * wet

    def _shelf(self, gain: Tensor, kind: Callable[..., filters.Section], hertz: float) -> filters.Section:
        gain = gain.double()
        return kind(torch.full_like(gain, hertz), gain, torch.full_like(gain, math.sqrt(0.5)), self.sample_rate)

    def _shaped(self, settings: Settings) -> Tensor:
        """h': (batch, channels, samples)."""
        size, decay = settings["size"], settings["decay"]
        taps = self.kernel.shape[-1]
        reach = float(size.detach().max())
        time = torch.arange(math.ceil(taps * reach), dtype=torch.float64, device=size.device)
        place = time / size.double()[:, None]
        base = place.detach().floor()
        f = (place - base).to(size.dtype)[:, None]
        index = base.long()
        padded = torch.nn.functional.pad(self.kernel.to(size.dtype), (1, 3))
        a, b, c, d = (padded[:, (index + i).clamp_max(taps + 3)].transpose(0, 1) for i in range(4))
        cubic = b + 0.5 * f * (c - a + f * (2.0 * a - 5.0 * b + 4.0 * c - d + f * (3.0 * (b - c) + d - a)))
        rate = math.log(1000.0) / (self.rt60 * self.sample_rate)
        loss = (1.0 / decay - 1.0)[:, None] * (rate * place).to(size.dtype)
        return cubic * (torch.exp(-loss) * torch.rsqrt(size)[:, None])[:, None]

    def tail(self, settings: Settings) -> float:
        """The whole response, as long as it is made, and the lower shelf's ringing."""
        whole = settings["size"].detach().double() * (self.kernel.shape[-1] / self.sample_rate)
        return float((whole + settings["pre_delay"].detach() / 1000.0).max()) + 0.05


_SHELVES: tuple[tuple[str, Callable[..., filters.Section], float], ...] = (
    ("low", filters.low_shelf, 250.0),
    ("high", filters.high_shelf, 4000.0),
)


@lru_cache(maxsize=4)
def _made(place: str, sample_rate: int) -> Tensor:
    """Seeded noise in octaves, each decaying at its own rate: float64 (2, samples)."""
    low, high, first, seed = PLACES[place]
    samples = round(1.2 * low * sample_rate)
    n_fft = fast_length(2 * samples)
    hertz = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * (sample_rate / n_fft)
    octave = torch.log2(hertz.clamp_min(20.0) / 125.0)
    white = torch.stack([noise.noise(seed + side, samples, dtype=torch.float64) for side in range(2)])
    spectrum = torch.fft.rfft(white, n=n_fft)
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    total = torch.zeros(2, samples, dtype=torch.float64)
    for band in range(8):
        weight = (1.0 - (octave - band).abs()).clamp_min(0.0)
        if band == 0:
            weight = torch.where(octave < 0, 1.0, weight)
        decay = low * (high / low) ** (max(band - 2, 0) / 5.0)
        octave_noise = torch.fft.irfft(spectrum * weight.sqrt(), n=n_fft)[..., :samples]
        total += octave_noise * torch.exp(-math.log(1000.0) / decay * time)
    build = ((time - 0.3 * first) / first).clamp(0.0, 1.0) ** 2  # a place fills up before it decays
    end = (40.0 * (1.0 - time / time[-1])).clamp_max(1.0)
    return (total * build * end).float().double()


def _read(path: str, sample_rate: int) -> Tensor:
    """float64 (channels, samples) at the session rate, from its first sample above -60 dB of its peak."""
    file = Path(path).expanduser()
    if not file.exists():
        raise UserError(
            f"impulse={path} was not found. Give the path of a sound file, or a name; {nearest(path, PLACES)}"
        )
    audio, rate = read_audio(file)
    if audio.shape[-1] > LONGEST * rate:
        raise UserError(f"{path} lasts {audio.shape[-1] / rate:.1f} s; an impulse response may last {LONGEST:g} s.")
    loud = audio.abs().amax(dim=0)
    if float(loud.max()) == 0.0:
        raise UserError(f"{path} holds only silence; an impulse response needs at least one sample that is not 0.")
    onset = int((loud > 1e-3 * loud.max()).nonzero()[0, 0])
    return resample(audio[:2, onset:].double(), rate, sample_rate)


def _reverberation_time(kernel: Tensor, sample_rate: int) -> float:
    """Seconds to fall by 60 dB, from the fall from -5 to -25 dB of the energy still to come (Schroeder 1965)."""
    left = kernel.double().square().sum(dim=0).flip(0).cumsum(0).flip(0)
    level = 10.0 * torch.log10((left / left[0]).clamp_min(1e-20))
    begin, end = int((level > -5.0).sum()), int((level > -25.0).sum())
    return max(3.0 * (end - begin) / sample_rate, 0.01)
