"""The learnt instrument: pitch, loudness, glides, windows; the decoder's part is tested beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hitchain.blocks.ddsp.decoder import shipped
from hitchain.blocks.instruments.ddsp import Ddsp
from hitchain.blocks.notes.notes import Notes
from hitchain.errors import UserError

RATE = 44100
CLEAN = {"vibrato_depth": 0.0, "noise_level": -40.0, "room": -60.0, "portamento": 1.0}


def _settings(block: Ddsp, dtype: torch.dtype = torch.float32, **values: float) -> dict[str, torch.Tensor]:
    changed = {name: torch.tensor([value], dtype=dtype) for name, value in {**CLEAN, **values}.items()}
    return block.defaults(1, dtype) | changed


def _hertz(audio: np.ndarray, near: float) -> float:
    size = 1 << 20
    spectrum = np.abs(np.fft.rfft(audio * np.blackman(len(audio)), size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    close = (hertz > near / 1.06) & (hertz < near * 1.06)
    return float(hertz[close][spectrum[close].argmax()])


@pytest.mark.parametrize("name", ["trumpet", "bass"])
def test_plays_in_tune_at_a_sane_level(name: str, accuracy) -> None:
    """Its fifth harmonic's place tells the pitch to a fifth of the resolution of its first."""
    block = Ddsp(RATE, name)
    middle = round((block.about.lowest + block.about.highest) / 2)
    worst = 0.0
    for pitch in (middle - 4.0, middle + 0.37, middle + 5.0):
        settings = _settings(block, torch.float64, decay=0.0)
        notes = Notes.of([0.0], [2.0], [pitch], [0.9], length=1.8, dtype=torch.float64)
        audio = block.double()(notes, settings)[0, 0, 8820:].numpy()
        exact = 440.0 * 2 ** ((pitch - 69) / 12)
        worst = max(worst, abs(1200 * math.log2(_hertz(audio, exact) / exact)))
        assert -36.0 < 20 * math.log10(np.sqrt(np.mean(audio**2))) < -8.0
    accuracy("instruments/ddsp", f"equal temperament, {name}", worst, bound=1.0, unit="cent")


def test_aliasing_of_a_high_note(accuracy) -> None:
    """Three octaves above what was taught: partials fade out below the Nyquist frequency, so none folds back."""
    block = Ddsp(RATE, "trumpet").double()
    settings = _settings(block, torch.float64, decay=0.0, brightness=12.0, noise_level=-40.0)
    notes = Notes.of([0.0], [2.0], [97.0], [1.0], length=1.5, dtype=torch.float64)
    audio = block(notes, settings)[0, 0, 22050:62050].numpy()
    power = np.abs(np.fft.rfft(audio * np.kaiser(len(audio), 16))) ** 2
    hertz = np.fft.rfftfreq(len(audio), 1 / RATE)
    first = 440.0 * 2 ** ((97 - 69) / 12)
    between = np.abs((hertz / first + 0.5) % 1.0 - 0.5) * first > 40.0
    folded = np.zeros_like(between)
    for k in range(10, 65):  # where what lies above the Nyquist frequency would come down
        folded |= np.abs(np.abs((k * first + RATE / 2) % RATE - RATE / 2) - hertz) < 15.0
    level = 10 * math.log10(power[folded & between].sum() / power.sum())
    noise_there = 10 * math.log10(power[between & ~folded].mean() / power[between & folded].mean())
    assert noise_there > -1.0  # nothing stands out where partials would fold to
    accuracy("instruments/ddsp", "aliasing (and noise) of C#7", level, bound=-40.0)


def test_velocity_and_loudness_change_level_and_timbre() -> None:
    block = Ddsp(RATE)

    def told(velocity: float, **values: float) -> tuple[float, float]:
        audio = block(Notes.of([0.0], [1.0], [70.0], [velocity], length=0.9), _settings(block, **values))[0, 0].numpy()
        power = np.abs(np.fft.rfft(audio[8820:])) ** 2
        hertz = np.fft.rfftfreq(len(audio) - 8820, 1 / RATE)
        return 10 * math.log10(power.sum()), float((power * hertz).sum() / power.sum())

    soft, hard = told(0.3), told(1.0)
    assert hard[0] > soft[0] + 3.0
    assert hard[1] > soft[1]
    assert told(0.7, brightness=6.0)[1] > 1.1 * told(0.7)[1]
    assert told(0.7, loudness=6.0)[0] > told(0.7, loudness=-6.0)[0] + 3.0


def test_glides_from_a_tied_note_only() -> None:
    block = Ddsp(RATE).double()
    settings = _settings(block, torch.float64, portamento=200.0)
    tied = block(Notes.of([0.0, 0.5], [0.5, 0.5], [60.0, 72.0], length=1.0, dtype=torch.float64), settings)
    apart = block(Notes.of([0.0, 0.5], [0.3, 0.5], [60.0, 72.0], length=1.0, dtype=torch.float64), settings)
    part = slice(round(0.55 * RATE), round(0.62 * RATE))
    assert _hertz(apart[0, 0, part].numpy(), 523.25) == pytest.approx(523.25, rel=0.01)
    assert (tied - apart)[0, 0, part].abs().max() > 0.02


def test_a_window_is_that_stretch_of_the_whole() -> None:
    block = Ddsp(RATE).double()
    settings = _settings(block, torch.float64, noise_level=0.0, vibrato_depth=30.0, portamento=40.0, room=-6.0)
    notes = Notes.of([0.1013, 0.6, 1.3], [0.5, 0.7, 0.5], [62.0, 67.2, 65.0], length=2.2, dtype=torch.float64)
    whole = block(notes, settings)[..., 39690 : 39690 + 17640]
    window = block(notes.window(0.9, 0.4, block.tail(settings)), settings)
    torch.testing.assert_close(window, whole, atol=1e-9, rtol=0)
    assert whole.abs().max() > 0.05


def test_no_notes_are_silence_and_a_wrong_name_is_told() -> None:
    block = Ddsp(RATE)
    assert not block(Notes.of([], [], [], length=0.2), block.defaults()).any()
    with pytest.raises(UserError, match="trumpet"):
        Ddsp(RATE, "trumppet")
    assert "trumpet" in shipped()
