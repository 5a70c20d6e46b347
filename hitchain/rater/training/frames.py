"""Augmentation of prepared log-mel frames: the changes of `augment` as far as frames without phase allow them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEndSettings, mel_centres
from hitchain.rater.training.augment import EQ_HIGHEST, EQ_LOWEST, NOISE_DB, AugmentSettings, Draw


def check(settings: AugmentSettings) -> None:
    """Raise `UserError` where a change cannot be made on mel frames."""
    if settings.codec > 0.0:
        raise UserError(
            f"codec={settings.codec:g} needs audio, and this prepared set holds mel frames: set rater.codec=0, or "
            f"prepare the source with kind=audio."
        )


def augment_frames(
    frames: Tensor, wanted: int, front_end: FrontEndSettings, settings: AugmentSettings, draw: Draw
) -> Tensor:
    """Frames (2, bands, wanted or a bit more) with every change that the settings allow: (2, bands, wanted).

    Tempo is interpolation over time and pitch over the bands' frequencies; the curve of the equaliser and the fade are
    decibels added; noise is power added. At last the level is brought to 1 as the front end does with audio.
    """
    frames = _warp(frames, wanted, 1.0 + draw.tempo * settings.stretch)
    if settings.pitch_semitones > 0.0:
        frames = _transpose(frames, 2.0 ** (draw.pitch * settings.pitch_semitones / 12.0), front_end)
    decibels = torch.zeros(frames.shape[-2], frames.shape[-1])
    if settings.eq_db > 0.0:
        places = np.linspace(np.log(EQ_LOWEST), np.log(EQ_HIGHEST), len(draw.curve))
        centres = np.log(mel_centres(front_end).numpy())
        curve = np.interp(centres, places, draw.curve * settings.eq_db)
        decibels += torch.from_numpy(curve).float()[:, None]
    decibels += torch.linspace(-1.0, 1.0, frames.shape[-1]) * draw.fade * settings.gain_db / 4.0
    power = _power(frames, front_end) * 10.0 ** (decibels / 10.0)
    if draw.noise < settings.noise:
        power = power + _noise(power, front_end, draw)
    return _frames(power / _level(power), front_end)


def normalise(frames: Tensor, front_end: FrontEndSettings) -> Tensor:
    """Frames of a crop at the level that the front end would have given the crop alone."""
    power = _power(frames, front_end)
    return _frames(power / _level(power), front_end)


def _level(power: Tensor) -> Tensor:
    """The mean power of middle and side together; the mel bands add up to all of the spectrum."""
    return power.sum(dim=(0, 1)).mean().clamp_min(1e-7)


def _power(frames: Tensor, front_end: FrontEndSettings) -> Tensor:
    floor = 10.0 ** (front_end.floor_db / 10.0)
    decibels = frames * abs(front_end.floor_db) + front_end.floor_db
    power: Tensor = (10.0 ** (decibels / 10.0) - floor).clamp_min(0.0)
    return power


def _frames(power: Tensor, front_end: FrontEndSettings) -> Tensor:
    floor = 10.0 ** (front_end.floor_db / 10.0)
    return (10.0 * torch.log10(power + floor) - front_end.floor_db) / abs(front_end.floor_db)


def _warp(frames: Tensor, wanted: int, tempo: float) -> Tensor:
    places = (torch.arange(wanted) * tempo).clamp_max(frames.shape[-1] - 1)
    left = places.floor().long().clamp_max(max(0, frames.shape[-1] - 2))
    right = (left + 1).clamp_max(frames.shape[-1] - 1)
    return torch.lerp(frames[..., left], frames[..., right], places - left)


def _transpose(frames: Tensor, factor: float, front_end: FrontEndSettings) -> Tensor:
    centres = mel_centres(front_end).double().numpy()
    places = np.interp(centres / factor, centres, np.arange(len(centres)))
    left = torch.from_numpy(np.minimum(np.floor(places).astype(np.int64), len(centres) - 2))
    share = (torch.from_numpy(places) - left).float()[:, None]
    return torch.lerp(frames[:, left], frames[:, left + 1], share)


def _noise(power: Tensor, front_end: FrontEndSettings, draw: Draw) -> Tensor:
    """Power of noise from white to brown in each band; its power wavers as that of Gaussian noise does."""
    centres = mel_centres(front_end)
    colour = centres ** (-2.0 * draw.noise_colour) * (centres + 700.0)  # a band is as wide as f + 700 Hz is
    under_db = NOISE_DB[0] + draw.noise_level * (NOISE_DB[1] - NOISE_DB[0])
    level = _level(power) * 10.0 ** (-under_db / 10.0)
    wavering = np.random.default_rng(draw.noise_seed).gamma(4.0, 0.25, tuple(power.shape))
    noise: Tensor = level * (colour / colour.sum() / 2.0)[None, :, None] * torch.from_numpy(wavering).float()
    return noise
