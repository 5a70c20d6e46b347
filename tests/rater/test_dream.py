"""Dreams: they rise, each regulariser does what it says, milestones are exact, and a killed dream ends as it would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hitchain.budget import read_budget
from hitchain.cli import main
from hitchain.errors import UserError
from hitchain.rater.dream import REGULARISERS, Dream, DreamSettings, dream
from hitchain.rater.dream.config import Plan
from hitchain.rater.dream.dream import noise
from hitchain.rater.dream.transform import band_limited, transformed

RATE = 16_000


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    """Share of the power that a first difference passes: more treble, whatever the level."""
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


def treble_share(audio: Tensor, above: float) -> float:
    """Share of the power above a frequency, by Welch's method."""
    frequencies, power = scipy.signal.welch(audio[0].numpy(), RATE, nperseg=2048)
    return float(power[:, frequencies > above].sum() / power.sum())


def dreamed(judge=brightness, steps: int = 20, seconds: float = 1.0, seed: int = 0, **own: object) -> Tensor:
    return dream(judge, noise(1, seconds, RATE, seed, 1), RATE, DreamSettings(steps=steps, seed=seed, **own)).audio


def test_it_rises_and_keeps_its_level() -> None:
    start = noise(2, 1.0, RATE, 3)
    result = dream(brightness, start, RATE, DreamSettings(steps=20))
    assert result.stopped == "all steps taken"
    assert [row["step"] for row in result.history] == list(range(21))
    before, after = torch.tensor(result.history[0]["ratings"]), torch.tensor(result.history[-1]["ratings"])
    assert bool((after > before + 0.3).all())
    assert torch.allclose(brightness(result.audio, RATE), after)
    level, first = (audio.square().mean(dim=(1, 2)).sqrt() for audio in (result.audio, start))
    assert torch.allclose(level, first, rtol=1e-4)


def test_each_item_of_a_batch_dreams_alone() -> None:
    start = noise(2, 1.0, RATE, 3)
    both = dream(brightness, start, RATE, DreamSettings(steps=5)).audio
    alone = dream(brightness, start[1:], RATE, DreamSettings(steps=5)).audio
    assert torch.allclose(both[1:], alone, atol=1e-6)


def test_the_band_is_kept_against_a_judge_that_wants_out_of_it() -> None:
    held = dreamed(high_hz=2000.0)
    assert treble_share(dreamed(), 2700.0) > 0.6  # what it does without
    assert treble_share(held, 2700.0) < 1e-4  # the edge falls over a third of an octave, to 2520 Hz
    low = dreamed(lambda audio, rate: -brightness(audio, rate), low_hz=500.0)
    assert 1.0 - treble_share(low, 390.0) < 1e-4
    assert 1.0 - treble_share(dreamed(lambda audio, rate: -brightness(audio, rate)), 390.0) > 0.05


def test_inside_the_band_nothing_is_changed() -> None:
    """Against a sine of each place: whole within the band, gone a third of an octave outside."""
    times = torch.arange(RATE) / RATE
    for frequency, share in ((100.0, 0.0), (300.0, 1.0), (1000.0, 1.0), (2000.0, 1.0), (2700.0, 0.0)):
        sine = torch.sin(2 * torch.pi * frequency * times)[None, None]
        assert torch.allclose(band_limited(sine, RATE, 200.0, 2000.0), share * sine, atol=1e-3), frequency


def test_total_variation_lowers_high_frequencies() -> None:
    def indifferent(audio: Tensor, sample_rate: int) -> Tensor:
        return 0.0 * audio.sum(dim=(1, 2))

    start = noise(1, 1.0, RATE, 0, 1)
    assert treble_share(dreamed(indifferent, total_variation=1.0), 4000.0) < 0.7 * treble_share(start, 4000.0)


@settings(max_examples=8, deadline=None)
@given(samples=st.integers(RATE // 4, RATE // 2), seed=st.integers(0, 99))
def test_the_spectral_parameterisation_gives_back_what_was_put_in(samples: int, seed: int) -> None:
    """Odd and even lengths, in double precision: an orthonormal transform and a scale."""
    audio = noise(2, 1.0, samples, seed).double()
    going = Dream(brightness, audio, RATE, DreamSettings(parameterisation="spectral"))
    assert torch.allclose(going.audio(), audio, atol=1e-12)


def test_a_spectral_step_changes_octaves_alike() -> None:
    """Adam's first step is as large for every free number: white on samples, 1/f (-6 dB an octave) on coefficients."""
    start, wanted = noise(1, 4.0, RATE, 1, 1), noise(1, 4.0, RATE, 2, 1)

    def slope(parameterisation: str) -> float:
        own = DreamSettings(learning_rate=0.001, parameterisation=parameterisation)
        going = Dream(lambda audio, rate: (audio * wanted).sum(dim=(1, 2)), start, RATE, own)
        going.advance()
        ended = going.audio()
        moved = ended - start * (ended * start).sum() / start.square().sum()  # the level was put back: not a step
        frequencies, power = scipy.signal.welch(moved[0, 0].numpy(), RATE, nperseg=1024)
        inside = (frequencies > 100) & (frequencies < 6000)
        return float(np.polyfit(np.log2(frequencies[inside]), 10 * np.log10(power[inside]), 1)[0])

    assert slope("waveform") == pytest.approx(0.0, abs=0.5)
    assert slope("spectral") == pytest.approx(-6.0, abs=0.7)


@pytest.mark.parametrize(("name", "value"), [("jitter_ms", 40.0), ("shift_semitones", 2.0), ("gain_db", 6.0),
                                             ("noise_db", -20.0)])  # fmt: skip
def test_alterations_are_drawn_from_seed_and_step(name: str, value: float) -> None:
    audio = noise(1, 1.0, RATE, 0, 1)
    own = DreamSettings(seed=5, **{name: value})
    first = transformed(audio, RATE, own, 7)
    assert torch.equal(first, transformed(audio, RATE, own, 7))
    assert not torch.equal(first[..., :9000], transformed(audio, RATE, own, 8)[..., :9000])
    other = DreamSettings(seed=6, **{name: value})
    assert not torch.equal(first[..., :9000], transformed(audio, RATE, other, 7)[..., :9000])
    assert transformed(audio, RATE, DreamSettings(seed=5), 7) is audio


def test_alterations_stay_within_what_they_say() -> None:
    audio = torch.sin(2 * torch.pi * 1000.0 * torch.arange(RATE) / RATE)[None, None]
    click = torch.zeros(1, 1, RATE)
    click[..., RATE // 2] = 1.0
    places, pitches, gains = [], [], []
    for step in range(40):
        jittered = transformed(click, RATE, DreamSettings(jitter_ms=40.0), step)
        places.append((int(jittered.argmax()) - RATE // 2) / RATE * 1000.0)
        shifted = transformed(audio, RATE, DreamSettings(shift_semitones=2.0), step)[0, 0]
        crossings = int(((shifted[1:] > 0) & (shifted[:-1] <= 0)).sum())
        pitches.append(12.0 * np.log2(crossings / len(shifted) * RATE / 1000.0))
        faded = transformed(torch.ones(1, 1, 100), RATE, DreamSettings(gain_db=6.0), step)
        gains += [20.0 * np.log10(float(faded.max())), 20.0 * np.log10(float(faded.min()))]
    for values, most in ((places, 40.0), (pitches, 2.0), (gains, 6.0)):
        assert max(values) <= most + 0.05
        assert min(values) >= -most - 0.05
        assert max(values) > 0.6 * most  # both ways, and most of the way
        assert min(values) < -0.6 * most
    noisy = transformed(audio, RATE, DreamSettings(noise_db=-20.0), 0) - audio
    assert 20.0 * np.log10(float(noisy.std() / audio.square().mean().sqrt())) == pytest.approx(-20.0, abs=0.2)


def test_milestones_are_exact() -> None:
    goals = (0.1, 0.2, 0.35)
    start = noise(2, 1.0, RATE, 2)
    result = dream(brightness, start, RATE, DreamSettings(steps=100, learning_rate=0.05), milestones=goals)
    assert result.stopped == "all milestones reached"
    for goal in goals:
        gain = brightness(result.gained[goal], RATE) - brightness(start, RATE)
        assert bool(result.reached[goal].all())
        assert bool((gain >= goal).all())
        assert bool((gain < goal + 0.002).all()), gain  # a whole step here gains 0.05


def test_a_resumed_dream_ends_bit_for_bit() -> None:
    start, own = noise(1, 1.0, RATE, 4), DreamSettings(steps=6, seed=9, **REGULARISERS)
    whole, first = (Dream(brightness, start, RATE, own) for _ in range(2))
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        first.advance()
    second = Dream(brightness, start, RATE, own)
    second.restore({key: value.clone() for key, value in first.state().items()})
    for _ in range(3):
        second.advance()
    assert torch.equal(whole.audio(), second.audio())


@pytest.mark.parametrize("after", [0, 3])
def test_a_rating_that_is_not_finite_ends_it_with_the_last_good_audio(after: int) -> None:
    told = []

    def breaks(audio: Tensor, sample_rate: int) -> Tensor:
        told.append(0)
        rating = brightness(audio, sample_rate)
        return rating if len(told) <= after + 1 else rating * float("nan")

    result = dream(breaks, noise(1, 1.0, RATE, 0), RATE, DreamSettings(steps=10))
    assert "not finite" in result.stopped
    assert len(result.history) == after
    assert bool(torch.isfinite(result.audio).all())


def test_a_judge_without_a_gradient_is_refused() -> None:
    with pytest.raises(UserError, match="gradient"):
        dream(lambda audio, rate: brightness(audio.detach(), rate), noise(1, 1.0, RATE, 0), RATE)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": -1}, {"steps": 1.5}, {"jitter_ms": "far"}, {"learning_rate": 0}, {"parameterisation": "wavelet"},
     {"low_hz": 500.0, "high_hz": 400.0}, {"gain_db": float("nan")}, {"seed": 2**31}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=list(wrong)[-1]):
        DreamSettings(**wrong)


@pytest.mark.parametrize("shape", [(RATE,), (1, RATE)])
def test_audio_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="batch, channels, samples"):
        Dream(brightness, torch.zeros(shape), RATE, DreamSettings())


# The command --------------------------------------------------------------------------------------------------------

QUICK = ["sample_rate=16000", "seconds=1.1", "judges=[]", "evaluate_every=2", "rater=appeal/0"]


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    times = np.arange(RATE * 2) / RATE
    tones = sum(np.sin(2 * np.pi * pitch * times) * np.exp(-4.0 * (times % 0.5)) for pitch in (220, 277, 330))
    soundfile.write(path, 0.2 * np.stack([tones, 0.9 * tones], axis=1), RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def finished(song: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dream") / "run"
    assert (
        main(["dream", f"input={song}", "steps=6", "regularised=true", "jitter_ms=false", f"out={folder}", *QUICK]) == 0
    )
    return folder


def test_the_command_leaves_the_whole_story(finished: Path, song: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert result["command"] == "dream"
    assert result["rating_after"] > result["rating_before"]
    assert result["heldout_before"] is not None
    assert result["heldout_after"] is not None
    assert set(result["regularisers"]) == set(REGULARISERS) - {"jitter_ms"}
    assert any("counter-example" in warning for warning in result["warnings"])
    rows = [json.loads(line) for line in (finished / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(7))
    assert [row["step"] for row in rows if "heldout" in row] == [0, 2, 4, 6]
    before, rate = soundfile.read(finished / "before.wav")
    assert rate == RATE
    assert np.allclose(before, soundfile.read(song)[0][: round(1.1 * RATE)], atol=1e-7)
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png") == page.count("data:audio/mpeg") == 2
    assert "counter-example" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not list(finished.glob(".*"))


def test_a_killed_dream_ends_bit_for_bit(song: Path, tmp_path: Path) -> None:
    """Killed by SIGKILL after a checkpoint, gone on with, and the same samples and ratings."""
    folder, finished = tmp_path / "run", tmp_path / "finished"
    words = [f"input={song}", "steps=6", "regularised=true", "jitter_ms=false", *QUICK]
    # All in processes of their own: other tests may have changed how many threads this one sums with.
    command = [sys.executable, "-m", "hitchain.cli", "dream"]
    subprocess.run([*command, *words, f"out={finished}"], check=True, capture_output=True)
    going = subprocess.Popen(
        [*command, *words, f"out={folder}", "checkpoint_every=0.0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (folder / "checkpoint.safetensors").exists() and going.poll() is None:
        time.sleep(0.01)
    going.send_signal(signal.SIGKILL)
    going.wait()
    if (folder / "result.json").exists():
        pytest.skip("it ended before it could be killed")
    subprocess.run([*command, f"resume={folder}"], check=True, capture_output=True)
    assert (folder / "dream.wav").read_bytes() == (finished / "dream.wav").read_bytes()
    ours, theirs = (
        [{**json.loads(line), "seconds": 0} for line in (run / "history.jsonl").read_text().splitlines()]
        for run in (folder, finished)
    )
    assert ours == theirs
    assert main(["dream", f"resume={folder}"]) == 2  # it has finished


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["input=nowhere.wav"], "nowhere.wav"),
        (["rater=appeal/trees"], "gradient"),
        (["rater=apeal"], "appeal"),
        (["rater=appeal/heldout"], "judge"),
        (["jitter_ms=far"], "jitter_ms"),
        (["seconds=0.5"], "seconds"),
        (["shift_semitones=3"], "1.2"),
        (["steps=many"], "steps"),
        (["budget=soon"], "10m"),
        (["judges=appeal/heldout"], "judges"),
        (["sample_rate=1"], "sample_rate"),
        (["regularized=true"], "regularised"),
        (["resume=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dream", f"out={tmp_path / 'run'}", "seconds=1.0", "steps=1", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said


def test_a_finished_run_is_never_written_over(finished: Path) -> None:
    assert main(["dream", f"out={finished}", *QUICK]) == 2


def test_switches() -> None:
    from hitchain.chain.config import compose

    def on(*words: str) -> dict[str, object]:
        own = Plan.of(compose("dream", words)).settings
        return {name: getattr(own, name) for name in own.regularised}

    assert on() == {}
    assert on("regularised=true") == REGULARISERS
    assert on("jitter_ms=true", "high_hz=5000") == {"jitter_ms": REGULARISERS["jitter_ms"], "high_hz": 5000}
    assert on("regularised=true", "parameterisation=waveform", "low_hz=false").keys() == set(REGULARISERS) - {
        "parameterisation", "low_hz"
    }  # fmt: skip
    assert Plan.of(compose("dream", ["budget=7steps"])).settings.steps == 7


@pytest.mark.parametrize(
    ("value", "seconds", "steps"),
    [(None, None, None), (90, 90.0, None), ("90s", 90.0, None), ("1.5m", 90.0, None), ("1h", 3600.0, None),
     ("200steps", None, 200), ("1 step", None, 1), ("1e3", 1000.0, None)],
)  # fmt: skip
def test_budgets(value: object, seconds: float | None, steps: int | None) -> None:
    budget = read_budget(value, "budget")
    assert (budget.seconds, budget.steps) == (seconds, steps)


@pytest.mark.parametrize("value", [True, 0, -1, "0s", "soon", "10 days", "1.5steps", "", [3], "1e99", "nan"])
def test_wrong_budgets(value: object) -> None:
    with pytest.raises(UserError, match=r"optimizer\.budget"):
        read_budget(value, "optimizer.budget")
