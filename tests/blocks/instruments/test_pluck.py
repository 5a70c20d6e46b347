"""The plucked string: in tune, the same as its loop run sample by sample, stiff as Fletcher says."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize
import scipy.signal
import torch
from synthesiser import cents_off, settings_of

from hitchain.blocks.dsp import modes, string
from hitchain.blocks.dsp.voices import Voices
from hitchain.blocks.instruments.pluck import Pluck
from hitchain.blocks.notes.notes import Notes

RATE = 44100
LONG = {"decay": 20.0, "release": 5000.0}


def _hertz(pitch: float) -> float:
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def _play(pitch: float, rate: int = RATE, seconds: float = 1.6, **values: float) -> np.ndarray:
    pluck = Pluck(rate)
    notes = Notes.of([0.0], [seconds], [pitch], [1.0], length=seconds)
    return pluck(notes, settings_of(pluck, **LONG | values))[0, 0].double().numpy()


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_in_tune_from_e1_to_e6(rate: int, accuracy: Callable[..., None]) -> None:
    """Measured on the audio, with the strings' own stiffness and losses and with much of both."""
    worst = 0.0
    for pitch in (28.0, 40.0, 52.0, 64.0, 76.0, 88.0):
        for inharmonicity, bright in ((6e-5, 0.75), (1e-3, 0.3)):
            audio = _play(pitch, rate, inharmonicity=inharmonicity, string_brightness=bright)
            worst = max(worst, abs(cents_off(audio, _hertz(pitch), rate)))
    accuracy("instruments/pluck", f"equal temperament, E1 to E6, at {rate} Hz", worst, bound=1.0, unit="cent")


def test_is_its_loop_run_by_scipy(accuracy: Callable[..., None]) -> None:
    """At a pitch where the loop's delay is a whole number of samples.

    The instrument leaves out the pole at 0 Hz, which the pick's comb all but silences: here it is added.

    From the eighth period on, when what is above 95 % of the band has died.
    """
    gain, bright, stiff = (torch.tensor([x], dtype=torch.float64) for x in (0.995, 0.1, 3e-4))

    def loop_at(frequency: float) -> tuple[string.Loop, torch.Tensor]:
        turn = torch.tensor([frequency * 2.0 * math.pi / RATE], dtype=torch.float64)
        return string.tuned(turn, gain, bright, string.dispersion(2.0 * math.pi / turn, stiff)), turn

    frequency = scipy.optimize.brentq(lambda f: float(loop_at(f)[0].delay) - 150.0, 150.0, 400.0, xtol=1e-12)
    loop, turn = loop_at(frequency)
    pick, samples = 30, 12000
    top = string.partials(loop)
    poles = string.poles(loop, turn, top)
    voices = Voices(*[torch.zeros(1, dtype=torch.int64)] * 3, torch.tensor([samples]), samples, RATE)
    still = torch.zeros(1, 1, dtype=torch.complex128)
    for _ in range(5):
        still = still - string._phase(loop, still) / string.slope(loop, still)
    offset = (1.0 - torch.exp(-still * pick)) / string.slope(loop, still)
    amplitude = 2.0 * (1.0 - torch.exp(-poles * pick)) / string.slope(loop, poles)
    ours = modes.ring(torch.zeros(1), amplitude, poles * RATE, voices, torch.float64)[0].numpy()
    ours += float(offset.real) * np.exp(float(still.real) * np.arange(samples))

    a, b, g = float(loop.allpass), float(bright), float(gain)
    over, under = np.array([1.0]), np.array([1.0])
    for _ in range(string.SECTIONS):
        over, under = np.convolve(over, [a, 1.0]), np.convolve(under, [1.0, a])
    turned = np.convolve(over, g * np.array([(1.0 - b) / 4.0, (1.0 + b) / 2.0, (1.0 - b) / 4.0]))
    denominator = np.zeros(149 + len(turned))
    denominator[: len(under)] += under
    denominator[149:] -= turned
    impulse = np.zeros(samples)
    impulse[0], impulse[pick] = 1.0, -1.0
    theirs = scipy.signal.lfilter(under, denominator, impulse)
    late = slice(8 * 160, None)
    error = 20.0 * np.log10(np.linalg.norm(ours[late] - theirs[late]) / np.linalg.norm(theirs[late]))
    accuracy("instruments/pluck", "its loop by scipy.signal.lfilter", error, bound=-120.0)


@pytest.mark.parametrize("pitch", [28.0, 45.0, 64.0])
def test_lower_partials_are_those_of_a_stiff_string(pitch: float, accuracy: Callable[..., None]) -> None:
    stiffness = 1e-4
    audio = _play(pitch, inharmonicity=stiffness, brightness=6000.0, string_brightness=0.95, pick_position=0.07)
    worst = 0.0
    for k in range(1, 9):
        expected = _hertz(pitch) * k * math.sqrt((1.0 + stiffness * k**2) / (1.0 + stiffness))
        worst = max(worst, abs(cents_off(audio, expected, RATE)))
    name = f"partials 1 to 8 of a stiff string (Fletcher) at MIDI {pitch:g}"
    accuracy("instruments/pluck", name, worst, bound=1.0, unit="cent")


def test_pick_at_the_middle_leaves_out_even_partials() -> None:
    power = np.abs(np.fft.rfft(_play(45.0, pick_position=0.5, inharmonicity=1e-6) * np.hanning(int(1.6 * RATE)))) ** 2
    levels = [power[round(110.0 * k * 1.6) - 3 : round(110.0 * k * 1.6) + 4].sum() for k in (1, 2, 3, 4)]
    assert max(levels[1], levels[3]) < 1e-4 * min(levels[0], levels[2])


@pytest.mark.parametrize("decay", [0.5, 3.0])
def test_takes_its_decay_to_die(decay: float) -> None:
    audio = _play(33.0, decay=decay, string_brightness=0.99, brightness=100.0)
    level = [20.0 * np.log10(np.sqrt(np.square(audio[at : at + 8820]).mean())) for at in (4410, 4410 + 13230)]
    assert 60.0 * 0.3 / (level[0] - level[1]) == pytest.approx(decay, rel=0.02)


def test_nothing_folds_back() -> None:
    """The highest string: off its partials there is only the window's floor."""
    audio = _play(100.0, brightness=12000.0, inharmonicity=1e-6, seconds=1.0)[4410:]
    power = np.abs(np.fft.rfft(audio * scipy.signal.windows.kaiser(len(audio), 18))) ** 2
    hertz = np.arange(len(power)) * RATE / len(audio)
    near = np.abs(hertz - np.maximum(np.round(hertz / _hertz(100.0)), 1) * _hertz(100.0)) < 60.0
    assert 10.0 * np.log10(power[~near].sum() / power.sum()) < -60.0


def test_harder_plucks_are_louder_and_brighter_and_strings_sound_alike_at_all_rates() -> None:
    pluck = Pluck(RATE)
    centres = []
    for velocity in (0.2, 0.6, 1.0):
        audio = pluck(Notes.of([0.0], [0.3], [45.0], [velocity], length=0.3), settings_of(pluck))[0, 0]
        power = torch.fft.rfft(audio).abs().square()
        centres.append(float((power * torch.arange(len(power))).sum() / power.sum()))
    assert centres == sorted(centres)
    low, high = (_play(45.0, rate, seconds=0.5, brightness=500.0) for rate in (44100, 88200))
    assert 20.0 * np.log10(np.linalg.norm(high[::2] - low) / np.linalg.norm(low)) < -40.0


@pytest.mark.parametrize("rate", [8000, RATE])
def test_the_whole_keyboard_is_finite_at_every_corner(rate: int) -> None:
    """Down to 8 Hz and up to 12.5 kHz, where no loop with these filters could be built."""
    pluck = Pluck(rate)
    notes = Notes.of([-0.05, 0.0, 0.01], [0.1, 0.1, 0.1], [0.0, 60.0, 127.0], length=0.1).expand(8)
    generator = torch.Generator().manual_seed(0)
    settings = {
        parameter.name: parameter.from_unit(torch.randint(0, 2, (8,), generator=generator).float())
        .clamp(parameter.low, parameter.high)
        .requires_grad_()
        for parameter in pluck.parameters
    }
    audio = pluck(notes, settings)
    assert torch.isfinite(audio).all()
    gradients = torch.autograd.grad(audio.square().sum(), list(settings.values()))
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
