"""Augmentations: each does what it says, as measured on the audio, and nothing when it is off."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.signal
import torch

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd, FrontEndSettings, mel_centres
from hitchain.rater.training import augment as changes
from hitchain.rater.training import frames as mel
from hitchain.rater.training.augment import OFF, USUAL, AugmentSettings, Draw, augment

RATE = 16_000


def draw(seed: int = 0) -> Draw:
    return Draw.of(np.random.default_rng(seed))


def noise(seconds: float = 2.0, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.standard_normal((2, round(seconds * RATE))).astype(np.float32) * 0.1)


def test_off_changes_nothing_and_every_key_changes_something() -> None:
    audio = noise()
    assert torch.equal(augment(audio, RATE, audio.shape[1], OFF, draw()), audio)
    always = replace(USUAL, noise=1.0, codec=1.0)
    for entry in fields(AugmentSettings):
        if entry.name == "crop":  # decided where the crop is taken
            continue
        alone = replace(OFF, **{entry.name: getattr(always, entry.name)})
        out = augment(audio, RATE, RATE, alone, draw(1))
        assert out.shape == (2, RATE)
        assert torch.isfinite(out).all()
        assert not torch.allclose(out, audio[:, :RATE], atol=1e-4), entry.name


def test_turning_one_change_off_leaves_the_others_as_they_were() -> None:
    audio = noise()
    with_gain = augment(audio, RATE, RATE, replace(OFF, gain_db=6.0, eq_db=6.0), draw(3))
    without = augment(audio, RATE, RATE, replace(OFF, eq_db=6.0), draw(3))
    ratio = (with_gain / without)[0, [100, 8000]]
    assert not torch.allclose(ratio, torch.ones(2), atol=0.05)
    torch.testing.assert_close(with_gain / without, (with_gain / without)[:1].expand(2, -1), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("tempo", "pitch"), [(1.1, 1.0), (1.0, 1.06), (0.93, 0.95)])
def test_tempo_and_pitch_change_as_asked(tempo: float, pitch: float) -> None:
    """A 440 Hz tone: its length follows the tempo, its frequency the pitch (spectrum peak, 0.5 % of it)."""
    audio = torch.sin(2 * torch.pi * 440 * torch.arange(RATE * 4) / RATE).expand(2, -1)
    out = changes.change_tempo_and_pitch(audio, RATE, tempo, pitch)
    assert out.shape[-1] == pytest.approx(RATE * 4 / tempo, rel=0.005)
    middle = out[0, RATE : RATE * 3] * torch.hann_window(RATE * 2)
    peak = float(torch.fft.rfft(middle, RATE * 8).abs().argmax()) / 8
    assert peak == pytest.approx(440 * pitch, rel=0.005)


def test_amplitude_moves_within_its_range() -> None:
    audio = torch.ones(2, 1000)
    for seed in range(20):
        decibels = 20 * torch.log10(augment(audio, RATE, 1000, replace(OFF, gain_db=6.0), draw(seed)))
        assert decibels.abs().max() <= 7.5 + 1e-4


def test_equaliser_follows_its_curve() -> None:
    """The power spectra before and after (Welch, scipy) differ by the gains at the curve's own places."""
    gains = [6.0, -6.0, 3.0, 0.0, -3.0, 5.0]
    audio = noise(20.0)
    out = changes.equalise(audio, RATE, gains)
    places = np.geomspace(changes.EQ_LOWEST, changes.EQ_HIGHEST, len(gains))
    f, before = scipy.signal.welch(audio[0].numpy(), RATE, nperseg=4096)
    _, after = scipy.signal.welch(out[0].numpy(), RATE, nperseg=4096)
    for place, gain in list(zip(places, gains, strict=True))[1:5]:
        near = np.abs(f - place) <= max(4.0, 0.01 * place)
        assert 10 * np.log10(after[near].sum() / before[near].sum()) == pytest.approx(gain, abs=0.5)


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_noise_has_its_level_and_colour(colour: float) -> None:
    audio = noise(10.0)
    added = changes.add_noise(audio, 30.0, replace(draw(), noise_colour=colour)) - audio
    ratio = float(audio.square().mean() / added.square().mean())
    assert 10 * np.log10(ratio) == pytest.approx(30.0, abs=0.1)
    f, power = scipy.signal.welch(added[0].numpy(), RATE, nperseg=4096)
    inside = (f > 200) & (f < 6000)
    slope = np.polyfit(np.log10(f[inside]), 10 * np.log10(power[inside]), 1)[0]
    assert slope == pytest.approx(-20.0 * colour, abs=1.0)
    assert abs(float((added[0] * added[1]).mean() / added.square().mean())) < 0.35  # each channel has its own


@pytest.mark.parametrize("kind", changes.CODECS)
def test_codecs_keep_the_sound_and_its_place(kind: str) -> None:
    rate = 32_000
    time_axis = torch.arange(rate * 2) / rate
    audio = 0.5 * torch.sin(2 * torch.pi * 330 * time_axis).expand(2, -1) * torch.exp(-3 * (time_axis % 0.5))
    out = changes.code(audio, rate, kind, quality=0.8)
    assert out.shape == audio.shape
    lags = scipy.signal.correlate(out[0].numpy(), audio[0].numpy())
    assert abs(int(lags.argmax()) - (audio.shape[1] - 1)) <= 0.05 * rate
    assert float(out.square().mean() / audio.square().mean()) == pytest.approx(1.0, abs=0.1)
    assert torch.equal(out, changes.code(audio, rate, kind, quality=0.8))
    assert not torch.allclose(out, audio, atol=1e-4)


def test_mel_frames_change_as_audio_does() -> None:
    """An equaliser on frames and the same on the audio before the front end agree, as do the levels."""
    front_end = FrontEndSettings()
    audio = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 64_000)).astype(np.float32) * 0.1)
    given = replace(draw(5), curve=np.array([4.0, -4.0, 2.0, -2.0, 4.0, 0.0]) / 6.0)
    heard = FrontEnd(front_end)(audio[None], 32_000)[0]
    on_frames = mel.augment_frames(heard, heard.shape[-1], front_end, replace(OFF, eq_db=6.0), given)
    on_audio = FrontEnd(front_end)(changes.equalise(audio, 32_000, given.curve * 6.0)[None], 32_000)[0]
    decibels = 70.0 * (on_frames - on_audio).mean(-1)
    assert decibels[:, 4:76].abs().max() < 0.6


def test_mel_frames_transpose_and_stretch() -> None:
    front_end = FrontEndSettings()
    centres = mel_centres(front_end)
    frames = torch.zeros(2, 80, 100)
    frames[:, 40, 50] = 1.0
    up = mel.augment_frames(frames, 100, front_end, replace(OFF, pitch_semitones=12.0), replace(draw(), pitch=1.0))
    assert float(centres[up[0, :, 50].argmax()]) == pytest.approx(2 * float(centres[40]), rel=0.05)
    fast = mel.augment_frames(frames, 80, front_end, replace(OFF, stretch=0.25), replace(draw(), tempo=1.0))
    assert int(fast[0, 40].argmax()) == 40  # frame 50 at 1.25 times the tempo


def test_codecs_need_audio() -> None:
    with pytest.raises(UserError, match=r"rater\.codec=0"):
        mel.check(replace(OFF, codec=0.1))
