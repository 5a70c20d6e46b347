"""The drum kit: pitches, decays, chokes and levels measured on its audio; windows exact; gradients right."""

from __future__ import annotations

import math

import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.blocks import SEED, Notes, create
from hitchain.blocks.certificate import certify, example
from hitchain.blocks.dsp import noise
from hitchain.blocks.dsp.percussion import BANDS, EDGES, RING, bands, decay, membrane
from hitchain.blocks.instruments.drums import KIT

RATE = 44100
DRUMS = [36, 38, 39, 42, 44, 46, 45, 49, 51, 53]


def hit(
    pitch: int | list[int], velocity: float = 1.0, length: float = 1.0, seed: int = 0, rate: int = RATE, **knobs: float
) -> Tensor:
    """One hit (or several, together) at time 0: (samples,), float64."""
    pitches = [float(p) for p in ([pitch] if isinstance(pitch, int) else pitch)]
    notes = Notes.of(
        [0.0] * len(pitches), [0.1] * len(pitches), pitches, [velocity] * len(pitches), length, dtype=torch.float64
    )
    return play(notes, seed, rate, **knobs)[0, 0]


def play(notes: Notes, seed: int = 0, rate: int = RATE, **knobs: float) -> Tensor:
    block = create("instruments/drums", sample_rate=rate)
    values = block.defaults(notes.batch, torch.float64)
    values |= {name: torch.full((notes.batch,), value, dtype=torch.float64) for name, value in knobs.items()}
    block.check(values)
    return block(notes, {**values, SEED: torch.tensor(seed)})


def decay_time(audio: Tensor, start: float) -> float:
    """Time to -60 dB by Schroeder's backward integration, extrapolated from the drop of 5 to 35 dB after `start`."""
    energy = audio[round(start * RATE) :].square().flip(0).cumsum(0).flip(0)
    level = 10.0 * torch.log10(energy / energy[0] + 1e-30)
    first, last = (int((level < drop).nonzero()[0]) for drop in (-5.0, -35.0))
    return 2.0 * (last - first) / RATE


def centroid(audio: Tensor) -> float:
    power = torch.fft.rfft(audio).abs().square()
    return float((power * torch.arange(len(power))).sum() / power.sum()) * RATE / len(audio)


def level(audio: Tensor) -> float:
    return float(10.0 * torch.log10(audio.square().mean() + 1e-30))


@pytest.mark.parametrize(
    ("drum", "knob", "value", "ratio"),
    [
        (36, "kick_pitch", 45.0, 1.0),
        (36, "kick_pitch", 90.0, 1.0),
        (41, "tom_pitch", 70.0, 1.0),
        (45, "tom_pitch", 100.0, 2 ** (6 / 12)),
    ],
)
def test_skins_settle_at_their_pitch(drum: int, knob: str, value: float, ratio: float) -> None:
    """Zero crossings after the sweep (from 0.3 s: 7 time constants and more), of a long and clean hit, within 1 %."""
    group = knob.partition("_")[0]
    clean = {"kick_click": -48.0, f"{group}_decay": 2000.0, knob: value}
    audio = hit(drum, **clean)[round(0.3 * RATE) : round(0.8 * RATE)]
    low = torch.tensor(
        scipy.signal.sosfiltfilt(scipy.signal.butter(4, 1.3 * value * ratio, fs=RATE, output="sos"), audio).copy()
    )
    rising = ((low[:-1] < 0) & (low[1:] >= 0)).nonzero().squeeze(-1)
    at = rising - low[rising] / (low[rising + 1] - low[rising])
    assert RATE / at.diff().mean().item() == pytest.approx(value * ratio, rel=0.01)


def test_kick_falls_from_its_sweep() -> None:
    """The first period of a 48-semitone sweep is far shorter than one without."""

    def first_period(sweep: float) -> float:
        audio = hit(36, kick_sweep=sweep, kick_click=-48.0)
        return float(((audio[:-1] > 0) & (audio[1:] <= 0)).nonzero()[0]) / RATE

    assert first_period(0.0) == pytest.approx(0.5 / 52.0, rel=0.02)
    assert first_period(48.0) < 0.1 * first_period(0.0)


@pytest.mark.parametrize(
    ("drum", "knob", "milliseconds", "start", "factor"),
    [
        (36, "kick_decay", 300.0, 0.02, 1.0),
        (36, "kick_decay", 900.0, 0.02, 1.0),
        (41, "tom_decay", 400.0, 0.1, 1.1),
        (38, "snare_decay", 200.0, 0.03, 1.0),
        (39, "clap_decay", 400.0, 0.035, 1.0),
        (42, "hat_decay_closed", 200.0, 0.002, 1.0),
        (46, "hat_decay_open", 700.0, 0.002, 1.0),
    ],
)
def test_decays_take_the_time_their_knob_says(
    drum: int, knob: str, milliseconds: float, start: float, factor: float
) -> None:
    """Within 8 %: the estimate on a few hundred milliseconds of noise scatters by that, on a tone by its period."""
    audio = hit(drum, length=2.0, snare_tone=0.0, **{knob: milliseconds})
    assert decay_time(audio, start) == pytest.approx(factor * milliseconds / 1000.0, rel=0.08)
    silent_from = round((RING * factor * milliseconds / 1000.0 + 0.04) * RATE)
    assert not audio[silent_from:].any()


def test_crash_rings_as_long_as_its_knob_says_and_loses_its_brightness_first() -> None:
    audio = hit(49, length=3.0, cymbal_decay=1500.0)
    dark = scipy.signal.sosfilt(scipy.signal.butter(6, 6000.0, fs=RATE, output="sos"), audio)
    assert decay_time(torch.from_numpy(dark), 0.01) == pytest.approx(1.5, rel=0.08)
    assert centroid(audio[: RATE // 5]) > 1.3 * centroid(audio[RATE : 2 * RATE])


@pytest.mark.parametrize("stroke", [42, 44])
def test_closed_and_pedal_hats_choke_the_open_hat(stroke: int) -> None:
    """The stroke's own sound taken off, the open hat falls by 40 dB within 75 ms; without a stroke by 6 dB."""
    open_alone = play(Notes.of([0.0], [0.1], [46.0], length=1.0, dtype=torch.float64))[0, 0]
    stroke_alone = play(Notes.of([0.3], [0.1], [float(stroke)], length=1.0, dtype=torch.float64))[0, 0]
    both = play(Notes.of([0.0, 0.3], [0.1] * 2, [46.0, float(stroke)], length=1.0, dtype=torch.float64))[0, 0]
    rest = both - stroke_alone
    before, after = slice(0, round(0.3 * RATE)), slice(round(0.375 * RATE), round(0.45 * RATE))
    assert torch.equal(rest[before], open_alone[before])
    assert level(rest[after]) < level(open_alone[after]) - 40.0
    assert level(open_alone[after]) > level(open_alone[before]) - 35.0


def test_what_does_not_choke() -> None:
    """A crash, a stroke before the open hat, a masked stroke, the other batch item."""
    alone = play(Notes.of([0.2], [0.1], [46.0], length=0.8, dtype=torch.float64))[0, 0]
    for onset, drum, mask in ((0.4, 49.0, 1.0), (0.1, 42.0, 1.0), (0.4, 42.0, 0.0)):
        notes = Notes.of([0.2, onset], [0.1] * 2, [46.0, drum], length=0.8, dtype=torch.float64)
        notes = notes.with_(mask=torch.tensor([[1.0, mask]], dtype=torch.float64))
        other = play(notes.with_(mask=notes.mask * torch.tensor([0.0, 1.0])))[0, 0]
        torch.testing.assert_close(play(notes)[0, 0] - other, alone, rtol=0, atol=1e-12)
    pair = Notes.of([0.2, 0.4], [0.1] * 2, [46.0, 42.0], length=0.8, dtype=torch.float64).expand(2)
    masks = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(play(pair.with_(mask=masks))[0, 0], alone, rtol=0, atol=1e-12)


def test_gate_cuts_a_hit_at_the_end_of_its_note() -> None:
    notes = Notes.of([0.0], [0.1], [49.0], length=0.5, dtype=torch.float64)
    ringing, cut = play(notes)[0, 0], play(notes, gate=1.0)[0, 0]
    assert torch.equal(ringing[: RATE // 10], cut[: RATE // 10])
    assert level(cut[RATE // 5 :]) < level(ringing[RATE // 5 :]) - 60.0


@pytest.mark.parametrize(
    ("drum", "knob"), [(42, "hat_tone"), (46, "hat_tone"), (49, "cymbal_tone"), (51, "cymbal_tone")]
)
def test_brightness_rises_with_tone_at_the_same_level(drum: int, knob: str) -> None:
    sounds = [hit(drum, **{knob: tone}) for tone in (-12.0, -4.0, 4.0, 12.0)]
    centroids = [centroid(sound) for sound in sounds]
    assert centroids == sorted(centroids)
    assert centroids[-1] > 1.3 * centroids[0]
    assert max(map(level, sounds)) - min(map(level, sounds)) < 6.0


@pytest.mark.parametrize("drum", DRUMS)
def test_harder_is_louder_and_brighter(drum: int) -> None:
    sounds = [hit(drum, velocity) for velocity in (0.05, 0.2, 0.4, 0.6, 0.8, 1.0)]
    levels = [level(sound) for sound in sounds]
    assert levels == sorted(levels)
    assert levels[-1] - levels[2] == pytest.approx(30.0 * math.log10(1.0 / 0.4), abs=3.0)  # power 1.5
    assert centroid(sounds[-1]) > centroid(sounds[1])


@pytest.mark.parametrize("drum", sorted(KIT))
def test_every_drum_is_heard_without_clipping(drum: int) -> None:
    audio = hit(drum, length=0.5)
    assert 0.05 < audio.abs().max() < 1.0
    assert not hit(drum, length=0.5, velocity=0.0).any()


def test_other_notes_sound_as_the_nearest_drum() -> None:
    for note, known in ((0, 35), (34, 35), (90, 81), (127, 81)):
        # the place in the noise follows the note's number, so compare what does not
        ours, theirs = hit(note), hit(known)
        assert level(ours) == pytest.approx(level(theirs), abs=1.5)
        assert centroid(ours) == pytest.approx(centroid(theirs), rel=0.1)


@pytest.mark.parametrize("drum", [36, 41, 50, 56, 75])
def test_tonal_drums_do_not_alias(drum: int) -> None:
    """Rendered at 32 kHz and at 128 kHz, the band both have is the same to -60 dB."""
    knobs = {"kick_click": -48.0, "tom_pitch": 160.0, "kick_pitch": 120.0, "kick_sweep": 48.0}
    low, high = (tone(drum, rate, **knobs) for rate in (32000, 128000))
    error = torch.fft.rfft(low)[:12000] - torch.fft.rfft(high)[:12000] / 4.0
    assert 20.0 * math.log10(float(error.norm() / torch.fft.rfft(low)[:12000].norm())) < -60.0


def tone(drum: int, rate: int, **knobs: float) -> Tensor:
    """A second of the drum with the noise of its stroke taken out, which differs between sample rates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "hitchain.blocks.instruments.drums.tilted", lambda _, __, tilt: tilt.new_zeros(len(tilt), len(BANDS))
        )
        return hit(drum, rate=rate, **knobs)


def test_metal_has_no_energy_between_the_harmonics_of_its_oscillators() -> None:
    """All but -80 dB of each metal row is on whole multiples of the table's bins of the squares' odd harmonics."""
    found = bands(0, RATE)
    step = RATE / noise.PERIOD
    nyquist = RATE / 2.0
    allowed = torch.zeros(noise.PERIOD // 2 + 1, dtype=torch.bool)
    for base in (205.3, 304.4, 369.6, 522.7, 540.0, 800.0):
        for harmonic in range(1, math.ceil(nyquist / base), 2):
            allowed[round(harmonic * base / step)] = True
    for row, (band, source) in enumerate(BANDS):
        power = torch.fft.rfft(found.tables[row].double()).abs().square()
        if source == "metal":
            assert power[~allowed].sum() < 1e-8 * power.sum()
        inside = slice(round(EDGES[band] / 1.3 / step), round(EDGES[band + 1] * 1.3 / step))
        assert power[inside].sum() > 0.999 * power.sum()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.9))
def test_a_window_is_that_stretch_of_the_whole(seed: int, start: float) -> None:
    """Across chokes too, and to rounding."""
    generator = torch.Generator().manual_seed(seed)
    count = 12
    onsets = (torch.rand(count, generator=generator) * 1.2).tolist()
    pitches = [float(DRUMS[i]) for i in torch.randint(len(DRUMS), (count,), generator=generator).tolist()]
    notes = Notes.of(onsets, [0.05] * count, pitches, length=1.5, dtype=torch.float64)
    block = create("instruments/drums")
    values = block.defaults(1, torch.float64) | {"hat_decay_open": torch.tensor([4000.0], dtype=torch.float64)}
    first = round(start * RATE)
    whole = block(notes, values)[..., first : first + RATE // 4]
    window = block(notes.window(first / RATE, 0.25, block.tail(values)), values)[..., : RATE // 4]
    assert (whole - window).abs().max() < 1e-10


def test_seed_changes_the_noise_only() -> None:
    same, again, other = hit(38, seed=1), hit(38, seed=1), hit(38, seed=2)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert level(same) == pytest.approx(level(other), abs=1.5)


@pytest.mark.parametrize("rate", [8000, 22050, 96000])
def test_other_sample_rates(rate: int) -> None:
    audio = hit([36, 38, 42, 46, 49, 75], rate=rate)
    assert audio.isfinite().all()
    assert level(audio) == pytest.approx(level(hit([36, 38, 42, 46, 49, 75])), abs=3.0 if rate > 8000 else 8.0)


def test_decay_and_membrane_gradients_against_finite_differences() -> None:
    """With first samples before and after the hit (at it, a decay has a corner)."""
    since = torch.tensor([-0.001, 2e-5, 1e-5, 0.02], dtype=torch.float64, requires_grad=True)
    seconds = torch.tensor([0.01, 0.02, 0.1, 0.3], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, d: decay(s, d, 300, RATE), (since, seconds))
    pitch = torch.tensor([50.0, 80.0, 200.0, 1000.0], dtype=torch.float64, requires_grad=True)
    sweep = torch.tensor([0.0, 12.0, 30.0, 3.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t, p, s, d: membrane(t, p, s, d, 300, RATE), (since, pitch, sweep, seconds))


def test_membrane_is_the_integral_of_its_frequency() -> None:
    """Against the frequency added up sample by sample (trapezoid) in a loop of 2 us steps."""
    rate, span = 500_000, 50_000
    values = (torch.tensor([v], dtype=torch.float64) for v in (0.0, 60.0, 24.0, 0.03))
    audio = membrane(*values, span, rate)[0]
    time = torch.arange(span, dtype=torch.float64) / rate
    frequency = 60.0 * (1.0 + (2.0 ** (24.0 / 12.0) - 1.0) * torch.exp(-time / 0.03))
    phase = torch.cat([torch.zeros(1), torch.cumulative_trapezoid(frequency, dx=1.0 / rate)])
    torch.testing.assert_close(audio, torch.sin(2 * math.pi * phase), rtol=0, atol=1e-6)


def test_gradient_certificate() -> None:
    failed = [str(gradient) for gradient in certify(example("instruments/drums")) if not gradient.passed]
    assert not failed, "\n".join(failed)
