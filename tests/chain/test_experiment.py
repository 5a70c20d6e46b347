"""The experiment: starts drawn by chance alone, arms at equal gain, and analysis that finds what was planted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hitchain.chain import config as configs
from hitchain.chain.chain import Window
from hitchain.chain.experiment import analysis, command, judges, measures, page, plan
from hitchain.chain.experiment.arms import ARMS, LETTERS, Task
from hitchain.errors import UserError
from hitchain.files import write_wav
from hitchain.rater.features import NAMES, features

RATE = 32_000


def brightness(audio: Tensor, sample_rate: int) -> Tensor:
    """Share of the power that a first difference passes: both ways can raise it."""
    power = audio.square().mean(dim=(-1, -2)) + 1e-9
    return (audio[..., 1:] - audio[..., :-1]).square().mean(dim=(-1, -2)) / power


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mixes of ten seconds: plucked tones and noise."""
    folder = tmp_path_factory.mktemp("recordings")
    random = np.random.default_rng(0)
    time = np.arange(10 * RATE) / RATE
    for name, pitch in (("one", 220.0), ("two", 330.0)):
        tone = np.sin(2 * np.pi * pitch * time) * np.exp(-(time % 0.5) / 0.2) * 0.3
        audio = np.stack([tone, tone]) + 0.02 * random.standard_normal((2, len(time)))
        write_wav(folder / "mixes" / f"{name}.wav", torch.from_numpy(audio).float(), RATE)
    return folder


def config_of(recordings: Path, **changes: Any) -> dict[str, Any]:
    return {**configs.compose("claim", []), "recordings": str(recordings), "starts_per_song": 2, **changes}


def test_starts_are_the_same_every_time_and_do_not_overlap(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "BANDS", {})
    config = config_of(recordings)
    first, second = plan.draw_starts(config), plan.draw_starts(config)
    assert first == second
    assert len(first) == 4
    assert len({start.name for start in first}) == 4
    for start in first:
        assert abs(start.first - start.second) >= config["section"]
        assert start.other
        assert Path(start.other).stem != start.song
    assert plan.draw_starts(config_of(recordings, seed=1)) != first


@pytest.fixture(scope="module")
def task(recordings: Path) -> Task:
    overrides = (*plan.KINDS["mixes"], f"instrument.file={recordings / 'mixes' / 'one.wav'}")
    start = plan.Start("one 1", "one", "mixes", overrides, 5, 1.0, 6.0)
    song = plan.song_of(start, RATE)
    base = float(brightness(song(song.start, Window(1.0, 2.0)), RATE))
    return Task(song, Window(1.0, 2.0), None, [brightness], [0.05 * base, 0.3 * base], 1.0, 5)


@pytest.mark.parametrize(
    "arm", ["chain", "chain, prior and copies", "waveform from the same start", "chain, random search"]
)
def test_arms_are_compared_at_equal_gain(task: Task, arm: str) -> None:
    climb = ARMS[arm](task)
    first = float(brightness(climb.start, RATE))
    assert climb.gained, "no goal was reached"
    for goal, audio in climb.gained.items():
        assert audio.shape == climb.start.shape
        assert float(brightness(audio, RATE)) - first == pytest.approx(goal, rel=0.15)
    assert float(brightness(climb.final, RATE)) - first >= max(climb.gained) * 0.95


def test_every_arm_has_its_letter() -> None:
    assert LETTERS["chain, prior and copies"] == "f"
    assert LETTERS["waveform from the same start"] == "i"
    assert sorted(LETTERS.values()) == ["a", "b", "c", "d", "e", "f", "f'", "g", "h", "i"]


def unit(song: str, number: int, transfer: dict[str, float], random: np.random.Generator) -> dict[str, Any]:
    """A made-up result in which the judges gain `transfer` times what was climbed, and some noise."""

    def point(climbed: float, arm: str) -> dict[str, Any]:
        judged = transfer[arm] * climbed + 0.01 * random.standard_normal()
        return {
            "climbed": climbed,
            "judges": {"heldout network": judged, "boosted trees": judged, "real music": 0.0},
            "measures": dict.fromkeys(measures.UNITS, 0.5),
            "features": [float(value) for value in random.standard_normal(len(NAMES))],
            "elsewhere": {"climbed": climbed, "heldout network": judged, "boosted trees": judged, "real music": 0.0},
            "at bound": 0.1,
        }

    arms = {}
    for arm in transfer:
        far = 1.5 if "waveform" in arm else 0.5
        points = {"start": point(0.0, arm), "0.1": point(0.1, arm), "0.2": point(0.2, arm), "final": point(far, arm)}
        arms[arm] = {"points": points, "steps": 10, "seconds": 1.0}
    return {"start": {"name": f"{song} {number}", "song": song, "kind": "mixes"}, "climbed": ["appeal/0"], "arms": arms}


def test_analysis_finds_the_planted_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "DRAWS", 100)
    random = np.random.default_rng(1)
    planted = {"chain": 0.8, "chain, prior and copies": 0.9, "waveform from the same start": 0.1}
    units = [unit(f"song {k}", n, planted, random) for k in range(6) for n in range(5)]
    found = analysis.analyse(units, list(planted), [0.1, 0.2], ["heldout network", "boosted trees", "real music"])
    for arm, value in planted.items():
        entry = found["transfer"][arm]["judges"]
        assert entry["value"] == pytest.approx(value, abs=0.02)
        assert entry["low"] <= entry["value"] <= entry["high"]
        assert (entry["starts"], entry["songs"]) == (30, 6)
    assert found["paired"]["0.2"]["chain"]["value"] == pytest.approx(0.16, abs=0.01)
    assert found["paired"]["0.2"]["times"]["value"] == pytest.approx(8.0, rel=0.2)
    told = page.markdown(
        {
            "command": "x", "starts": 30, "songs": 6, "kinds": {"mixes": 30}, "seconds": 8.0, "section": 4.0,
            "sample_rate": RATE, "judges": {"heldout network": "appeal/heldout"}, "panel": ["heldout network"],
            "song_names": {"mixes": ["song 0"]},
            "targets": [{"climbed": ["appeal/0"], "starts": 30, **found, "distances": {},
                         "measures": analysis.measured(units, list(planted))}],
        }
    )  # fmt: skip
    assert "| f. chain, prior and copies |" in told


def test_an_interval_over_songs_covers() -> None:
    """Starts of a song that are all alike count as one: the interval must be as wide as with one start a song."""
    random = np.random.default_rng(2)
    covered = 0
    for trial in range(100):
        songs = 0.5 + 0.3 * random.standard_normal(12)
        pairs = [(f"{k}", float(value), 0.0) for k, value in enumerate(songs) for _ in range(5)]
        entry = analysis.summarise(pairs, analysis.mean_of) if trial % 4 == 0 else None
        if entry is not None:
            covered += entry["low"] <= 0.5 <= entry["high"]
    assert covered >= 19  # of 25; 95 % of them is 23.75, and the bootstrap of 12 songs is a little narrow


def test_frechet_distance_of_shifted_gaussians() -> None:
    """|m1 - m2|^2 + tr(...): for equal covariances only the means are apart."""
    random = np.random.default_rng(3)
    real = random.standard_normal((4000, len(NAMES)))
    assert judges.frechet_distance(random.standard_normal((4000, len(NAMES))), real) < 0.05
    assert judges.frechet_distance(real + 2.0, real) == pytest.approx(4.0, rel=0.02)


def test_density_knows_its_own_and_says_how_unusual_the_rest_is() -> None:
    """Pieces of recordings left out get about 0, give or take 1; the further from music, the less."""
    random = np.random.default_rng(4)
    mixing = random.standard_normal((8, 40))
    recordings = np.repeat(np.arange(20), 5)
    hidden = random.standard_normal((20, 8))[recordings] + 0.5 * random.standard_normal((100, 8))
    pieces = hidden @ mixing + 0.3 * random.standard_normal((100, 40))
    density = judges.Density(judges.RealMusic(pieces, recordings))
    own = random.standard_normal((50, 8)) @ mixing + 0.3 * random.standard_normal((50, 40))
    usual = [density(piece) for piece in own]
    assert abs(np.mean(usual)) < 1.0
    assert 0.3 < np.std(usual) < 3.0
    scales = np.linspace(1.0, 5.0, 20)
    further = [density(scale * own[0]) for scale in scales]
    assert further == sorted(further, reverse=True)
    noise = random.standard_normal((20, 40)) * np.linalg.norm(pieces, axis=1).mean() / np.sqrt(40)
    assert max(density(piece) for piece in noise) < min(usual)


def test_measures_know_tone_from_noise() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = sum(np.sin(2 * np.pi * 220.0 * k * time) / k for k in range(1, 6)) * 0.2
    noise = np.random.default_rng(5).standard_normal(len(time)) * 0.1
    assert measures.harmonic_to_noise(tone, RATE) > 20.0
    assert measures.harmonic_to_noise(noise, RATE) < 0.0
    mixed = measures.harmonic_to_noise(tone + noise * np.sqrt((tone**2).mean() / (noise**2).mean()) * 0.316, RATE)
    assert mixed == pytest.approx(10.0, abs=2.5)  # noise 10 dB under the tone
    assert measures.spectral_flatness(noise, RATE) > 0.5
    assert measures.spectral_flatness(tone, RATE) < 0.05


def test_changed_is_the_level_of_the_difference() -> None:
    start = torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(0)) * 0.1
    other = torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(1)) * 0.001
    vector = features(start[0].numpy(), RATE)
    assert measures.measures(start + other, RATE, start, vector)["changed"] == pytest.approx(-40.0, abs=0.1)
    assert measures.measures(start * 2.0, RATE, start, vector)["changed"] < -100.0


def test_a_climbed_judge_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="climbed too"):
        command.claim(config_of(recordings, judges={"x": "appeal/0"}, out=str(tmp_path / "out")))


def test_another_experiment_is_not_written_over(recordings: Path, tmp_path: Path) -> None:
    command._begin(tmp_path, config_of(recordings))
    command._begin(tmp_path, config_of(recordings, workers=1))
    with pytest.raises(UserError, match="another seed"):
        command._begin(tmp_path, config_of(recordings, seed=7))


@pytest.mark.parametrize("words", [[], ["clam"], ["claim", "goal=[0.1]"]])
def test_misspellings(words: list[str]) -> None:
    with pytest.raises(UserError):
        command.experiment(words)


def test_missing_recordings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a folder"):
        plan.draw_starts(config_of(tmp_path / "none"))
    with pytest.raises(UserError, match="no sound files"):
        plan.draw_starts(config_of(tmp_path))
