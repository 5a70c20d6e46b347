"""A cabinet by its recorded impulse response."""

from __future__ import annotations

import math
import os
from importlib import resources
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from hitchain.blocks.block import LinearBlock
from hitchain.blocks.dsp.circuits import section, section_product, warped_axis
from hitchain.blocks.dsp.decibels import to_gain
from hitchain.blocks.dsp.fft import fast_length, frequencies
from hitchain.blocks.dsp.resampling import PADDING, resample
from hitchain.blocks.parameter import Parameter, Settings
from hitchain.blocks.registry import register
from hitchain.errors import UserError, nearest
from hitchain.files import read_audio

LONGEST = 20.0
"""The longest impulse response that is taken [s]."""

ONSET = 1e-3
"""Leading samples below this share of the peak (-60 dB) are left out: a cabinet adds no delay."""


@register("cabs/impulse")
class Impulse(LinearBlock):
    """Convolution with an impulse response, between a low and a high cut.

    The response is read from a sound file (mono or stereo), starts at its first sample above -60 dB of its peak, is
    resampled to the session rate, and is scaled so that pink noise (50 Hz to 10 kHz) leaves as loud as it came: one
    impulse response can take the place of another at the same level. The cuts are Butterworth filters of 2nd order. A
    stereo response makes stereo.

    Args:
        sample_rate: of the session [Hz].
        file: the name of a shipped impulse response ("closed_4x12", "open_1x12") or the path of a WAV, FLAC, OGG or
            MP3 file of at most 20 s.

    Raises:
        UserError: the file is missing, empty, not audio, silent or too long.
    """

    parameters = (
        Parameter("low_cut", 20.0, 500.0, default=20.0, unit="Hz", scale="log", description="high-pass"),
        Parameter("high_cut", 1000.0, 18000.0, default=18000.0, unit="Hz", scale="log", description="low-pass"),
        Parameter("mix", 0.0, 1.0, default=1.0, description="0 without the cabinet, 1 through it"),
        Parameter("level", -24.0, 12.0, default=0.0, unit="dB", description="output level"),
    )
    presets: ClassVar = {
        "as recorded": {},
        "tight": {"low_cut": 100.0, "high_cut": 7000.0},
        "dark": {"high_cut": 3500.0},
    }

    def __init__(self, sample_rate: int = 44100, file: str = "closed_4x12") -> None:
        super().__init__(sample_rate)
        impulse, self.lead = _load(_find(file), sample_rate)
        self.register_buffer("impulse", impulse, persistent=False)

    def tail(self, settings: Settings) -> float:
        slowest = 2.0 * math.pi * float(settings["low_cut"].detach().min()) * math.sqrt(0.5)
        return self.get_buffer("impulse").shape[-1] / self.sample_rate + math.log(1e5) / slowest

    def response(self, settings: Settings, n_fft: int) -> Tensor:
        level = settings["level"]
        hertz = frequencies(n_fft, self.sample_rate, like=level)
        cuts = section_product(self._cuts(settings), warped_axis(hertz, self.sample_rate))
        cab = self._cab(hertz, n_fft) * cuts[:, None]
        mix = settings["mix"][:, None, None]
        return to_gain(level)[:, None, None] * (1.0 - mix + mix * cab)

    def _cab(self, hertz: Tensor, n_fft: int) -> Tensor:
        """(1, channels, bins). What resampling rings before the onset stays there, in negative time."""
        kernel = self.get_buffer("impulse").to(hertz)
        spectrum: Tensor = torch.fft.rfft(kernel, n=n_fft)
        if self.lead > 0.0:
            spectrum = spectrum * torch.polar(torch.ones_like(hertz), hertz * (2.0 * math.pi * self.lead))
        return spectrum[None]

    def _cuts(self, settings: Settings) -> Tensor:
        """A high-pass and a low-pass: (batch, 2, 6)."""
        damping = math.sqrt(2.0)
        high_pass = section(settings["low_cut"], self.sample_rate, (0.0, 0.0, 1.0), (1.0, damping, 1.0))
        low_pass = section(settings["high_cut"], self.sample_rate, (1.0, 0.0, 0.0), (1.0, damping, 1.0))
        return torch.stack([high_pass, low_pass], dim=1)


def shipped() -> dict[str, Path]:
    """The impulse responses that come with the package, by name."""
    folder = Path(str(resources.files("hitchain") / "data" / "cabs"))
    return {path.stem: path for path in sorted(folder.glob("*.wav"))}


def _find(file: str | os.PathLike[str]) -> Path:
    known = shipped()
    if str(file) in known:
        return known[str(file)]
    path = Path(file).expanduser()
    if not path.exists():
        hint = nearest(str(file), known)
        raise UserError(f"impulse response not found: {file}. Give a path to a sound file, or a shipped name; {hint}")
    return path


def _load(path: Path, sample_rate: int) -> tuple[Tensor, float]:
    """The impulse response (channels, samples) at the session rate, and how long before its onset it starts [s]."""
    audio, rate = read_audio(path)
    seconds = audio.shape[-1] / rate
    if seconds > LONGEST:
        raise UserError(f"{path} lasts {seconds:.1f} s; an impulse response may last at most {LONGEST:g} s.")
    loud = audio.abs().amax(dim=0)
    if float(loud.max()) == 0.0:
        raise UserError(f"{path} holds only silence; an impulse response needs at least one sample that is not 0.")
    onset = int((loud > ONSET * loud.max()).nonzero()[0, 0])
    impulse, lead = audio[:, onset:].double(), 0
    if rate != sample_rate:
        lead = PADDING * max(1, math.ceil(rate / sample_rate))
        impulse = resample(torch.nn.functional.pad(impulse, (lead, lead)), rate, sample_rate)
    return (impulse / _pink_gain(impulse, sample_rate)).float(), lead / rate


def _pink_gain(impulse: Tensor, sample_rate: int) -> Tensor:
    """By how much pink noise, 50 Hz to 10 kHz, is raised: the root of the mean of |H|^2 weighted by 1 / f."""
    n_fft = fast_length(max(impulse.shape[-1], sample_rate))
    hertz = frequencies(n_fft, sample_rate, like=impulse)
    band = (hertz >= 50.0) & (hertz <= min(10_000.0, 0.45 * sample_rate))
    power = torch.fft.rfft(impulse, n=n_fft).abs().square().mean(dim=0)
    gain: Tensor = ((power[band] / hertz[band]).sum() / (1.0 / hertz[band]).sum()).sqrt()
    return gain
