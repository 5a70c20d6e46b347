"""The realness critic: it separates, stays calibrated, hears no container, and goes on to the bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from hitchain.errors import UserError
from hitchain.files import write_wav
from hitchain.rater import weights
from hitchain.rater.critic import Critic, CriticSettings, build, calibration, real
from hitchain.rater.critic.disturb import DISTURBANCES
from hitchain.rater.critic.frames import FRONT_END, cut, disguise, from_power, mix, recall, store, to_power
from hitchain.rater.critic.replay import Replay
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.shards import PrepareSettings, prepare

Band = Callable[..., torch.Tensor]
RATE = 16_000
QUICK = CriticSettings(first_steps=40, batch=12, recent=12, old=6)


def imitation(seconds: float, seed: int, batch: int = 6) -> torch.Tensor:
    """What plays at being music: organ tones on a grid, no drums, no decay: (batch, 2, samples)."""
    random = np.random.default_rng([99, seed])
    time = np.arange(round(seconds * RATE)) / RATE
    items = []
    for _ in range(batch):
        tones = np.zeros((2, len(time)))
        for _ in range(6):
            frequency = 110.0 * 2.0 ** (random.integers(0, 36) / 12)
            on = np.sin(2 * np.pi * random.choice([1.0, 2.0]) * time + random.uniform(0, 6)) > 0
            tones += random.uniform(0.2, 1.0, (2, 1)) * np.sign(np.sin(2 * np.pi * frequency * time)) * on
        items.append(torch.from_numpy(0.1 * tones).float())
    return torch.stack(items)


@pytest.fixture(scope="module")
def recordings(band: Band, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    for seed in range(6):
        write_wav(folder / f"song{seed}.wav", band(6.0 + seed, RATE, seed)[0] * 10 ** (-seed / 10), RATE)
    return folder


@pytest.fixture(scope="module")
def material(recordings: Path) -> real.Real:
    return real.load(recordings)


@pytest.fixture(scope="module")
def critic(material: real.Real) -> Critic:
    critic = Critic(material, QUICK, seed=3)
    critic.update(imitation(4.0, 0, batch=9), RATE)
    for number in range(1, 4):
        critic.update(imitation(4.0, number, batch=3), RATE)
    return critic


# What it says ---------------------------------------------------------------------------------------------------------


def test_it_separates_what_it_never_heard_and_knows_how_well(critic: Critic, band: Band) -> None:
    with torch.no_grad():
        known = torch.cat([critic(band(4.0, RATE, seed), RATE) for seed in range(20, 30)])
        made = critic(imitation(4.0, 50, batch=10), RATE)
    assert float(known.min()) > float(made.max())
    error = calibration.expected_calibration_error(torch.cat([known, made]), [True] * 10 + [False] * 10)
    assert error < 0.2


@pytest.mark.parametrize("name", DISTURBANCES)
def test_no_container_changes_its_mind(critic: Critic, band: Band, name: str) -> None:
    for audio, side in ((band(4.0, RATE, 40), 1.0), (imitation(4.0, 60, batch=1), -1.0)):
        with torch.no_grad():
            assert side * float(critic(*DISTURBANCES[name](audio, RATE))) > 0


@given(gain_db=st.floats(-40.0, 20.0))
def test_the_level_does_not_matter(critic: Critic, gain_db: float) -> None:
    audio = imitation(1.0, 7, batch=1)
    with torch.no_grad():
        plain, changed = critic(audio, RATE), critic(audio * 10 ** (gain_db / 20), RATE)
    torch.testing.assert_close(plain, changed, atol=2e-3, rtol=0)


@pytest.mark.parametrize("samples", [RATE, RATE + 1, 3 * RATE, 11 * RATE])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_length_has_an_answer_and_a_gradient(critic: Critic, samples: int, channels: int) -> None:
    audio = (0.1 * torch.randn(2, channels, samples, generator=torch.Generator().manual_seed(1))).requires_grad_(True)
    term = critic.term(audio, RATE)
    assert term.shape == (2,)
    assert bool((term <= 0).all())
    (gradient,) = torch.autograd.grad(term.sum(), audio)
    assert bool(torch.isfinite(gradient).all())
    assert float(gradient.abs().max()) > 0


def test_the_gradient_at_silence_is_finite(critic: Critic) -> None:
    audio = torch.zeros(1, 2, RATE, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic.term(audio, RATE).sum(), audio)
    assert bool(torch.isfinite(gradient).all())


def test_the_slope_at_the_frames_leads_toward_real(critic: Critic) -> None:
    audio = imitation(2.0, 70, batch=1)
    before = float(critic(audio, RATE).detach())
    for _ in range(10):
        audio = audio.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(critic.term(audio, RATE).sum(), audio)
        audio = audio + 0.3 * audio.norm() / 10 * gradient / gradient.norm()
    assert float(critic(audio, RATE).detach()) > before + 0.1


def test_before_it_learns_it_is_undecided(material: real.Real) -> None:
    audio = imitation(1.0, 1, batch=2).requires_grad_(True)
    log_odds = Critic(material)(audio, RATE)
    assert log_odds.tolist() == [0.0, 0.0]
    assert float(torch.autograd.grad(log_odds.sum(), audio)[0].abs().max()) == 0.0


@pytest.mark.parametrize(
    ("audio", "rate"), [(torch.zeros(1, 2, 999), 8000), (torch.zeros(2, 9000), 8000), (torch.zeros(1, 3, 9000), 8000)]
)
def test_audio_that_cannot_be_judged_is_refused(critic: Critic, audio: torch.Tensor, rate: int) -> None:
    with pytest.raises(UserError):
        critic(audio, rate)


def test_every_layer_has_a_gain_of_one(critic: Critic) -> None:
    """The largest singular value of each weight, as a matrix (Miyato et al. 2018), as near as power iteration gets."""
    layers = [m for m in critic.networks.modules() if isinstance(m, torch.nn.Conv1d | torch.nn.Conv2d)]
    assert len(layers) == 18
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)) == pytest.approx(1.0, abs=0.25)


def test_silence_around_output_has_next_to_no_weight(critic: Critic) -> None:
    audio = imitation(2.0, 80, batch=4)
    with torch.no_grad():
        plain = critic(audio, RATE)
        padded = critic(torch.nn.functional.pad(audio, (4 * RATE, 3 * RATE)), RATE)
        silent = critic(torch.zeros(1, 2, 2 * RATE), RATE)
    # Seven seconds of silence to two of output: counted like them, they would pull three quarters of the way.
    assert float((padded - plain).abs().mean()) < 0.35 * float((silent - plain).abs().mean())


# How it goes on -------------------------------------------------------------------------------------------------------


def test_it_goes_on_to_the_bit_from_its_state(material: real.Real, tmp_path: Path) -> None:
    settings = CriticSettings(first_steps=2, steps=1, batch=4, recent=4, old=3)

    def play(critic: Critic, first: int, last: int) -> None:
        for number in range(first, last):
            critic.update(imitation(2.0, number, batch=2), RATE)

    through, half = (Critic(material, settings, seed=5) for _ in range(2))
    play(through, 0, 7)
    play(half, 0, 4)
    half.save(tmp_path / "critic.safetensors")
    resumed = Critic.load(tmp_path / "critic.safetensors", material)
    play(resumed, 4, 7)
    one, other = through.state(), resumed.state()
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
    assert len(resumed.replay.recent) <= 4
    assert len(resumed.replay.old) <= 3


def test_what_an_update_tells(material: real.Real) -> None:
    told = Critic(material, CriticSettings(first_steps=1, batch=4)).update(imitation(1.0, 0, batch=3), RATE)
    assert told["log_odds"] == 0.0
    assert told["fooled"] == 0.0
    assert told["loss"] == pytest.approx(math.log(2), abs=0.4)
    assert 0.0 <= told["calibration_error"] <= 1.0


def test_an_update_leaves_the_random_numbers_of_others_alone(material: real.Real) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Critic(material, CriticSettings(first_steps=1, batch=4)).update(imitation(1.0, 0, batch=3), RATE)
    assert torch.equal(torch.rand(3), expected)


def test_a_state_of_other_recordings_is_refused(critic: Critic) -> None:
    with pytest.raises(UserError, match="other real recordings"):
        Critic(real.pack()).load_state(critic.state())


@pytest.mark.parametrize("damage", ["drop", "shape", "about", "number"])
def test_a_damaged_state_is_refused_and_changes_nothing(critic: Critic, material: real.Real, damage: str) -> None:
    state = critic.state()
    if damage == "drop":
        del state["networks.0.logit.bias"]
    elif damage == "shape":
        state["replay.recent"] = state["replay.recent"][:1]
    elif damage == "about":
        state["about"] = torch.tensor([1, 2], dtype=torch.uint8)
    else:
        about = json.loads(bytes(state["about"].tolist()))
        about["updates"] = "many"
        state["about"] = torch.tensor(list(json.dumps(about).encode()), dtype=torch.uint8)
    other = Critic(material)
    with pytest.raises(UserError):
        other.load_state(state)
    assert other.updates == 0


@pytest.mark.parametrize("values", [{"batch": 1}, {"steps": 2.5}, {"learning_rate": 0}, {"recent": "8"}, {"foldz": 3}])
def test_wrong_settings_are_named(values: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        CriticSettings.from_mapping(values)


# Calibration ----------------------------------------------------------------------------------------------------------


def test_platt_scaling_is_a_logistic_regression_on_platts_targets() -> None:
    random = np.random.default_rng(0)
    known, made = random.normal(1.0, 2.0, 30), random.normal(-1.0, 2.0, 50)
    logits = np.concatenate([known, made])
    high, low = 31 / 32, 1 / 52
    # A soft target t is a copy that is real with weight t and one that is not with weight 1 - t.
    soft = np.repeat([high, low], [30, 50])
    share = np.repeat([0.5 / 30, 0.5 / 50], [30, 50])
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.tile(logits, 2)[:, None],
        np.repeat([1, 0], 80),
        sample_weight=80 * np.concatenate([share * soft, share * (1 - soft)]),
    )
    found = calibration.fit(known, made)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-3)
    assert found.offset == pytest.approx(reference.intercept_[0], abs=1e-3)


@given(
    known=st.lists(st.floats(-50, 50), min_size=1, max_size=20),
    made=st.lists(st.floats(-50, 50), min_size=1, max_size=20),
)
def test_platt_scaling_is_finite_and_keeps_the_order(known: list[float], made: list[float]) -> None:
    found = calibration.fit(known, made)
    assert found.slope > 0
    assert math.isfinite(found.slope)
    assert math.isfinite(found.offset)


def test_what_is_told_apart_without_error_is_not_taken_for_certain() -> None:
    """With n of either kind the best that can be said is a probability of (n + 1) / (n + 2)."""
    few = calibration.fit(np.full(40, 5.0), np.full(40, -5.0), recordings=3)
    many = calibration.fit(np.full(40, 5.0), np.full(40, -5.0))
    assert few.slope * 5 + few.offset == pytest.approx(math.log(4), abs=1e-6)
    assert many.slope * 5 + many.offset == pytest.approx(math.log(41), abs=1e-6)


def test_calibration_error_by_hand() -> None:
    odds = [math.log(9)] * 4 + [-math.log(9)] * 4  # 0.9 and 0.1
    truth = [True, True, True, False, False, False, False, True]
    # Three of four are right in either bin: stated 0.9 and 0.1, seen 0.75 and 0.25.
    assert calibration.expected_calibration_error(odds, truth) == pytest.approx(0.15)
    assert calibration.expected_calibration_error([100.0, -100.0], [True, False]) == pytest.approx(0.0)
    assert calibration.expected_calibration_error([100.0, -100.0], [False, True]) == pytest.approx(1.0)
    assert math.isnan(calibration.expected_calibration_error([1.0], [True]))


# Replay ---------------------------------------------------------------------------------------------------------------


def numbered(first: int, last: int) -> torch.Tensor:
    return torch.arange(first, last, dtype=torch.uint8)[:, None]


def test_the_buffer_keeps_the_newest_and_a_uniform_sample_of_the_rest() -> None:
    counts = np.zeros(40)
    for seed in range(300):
        replay = Replay(recent=5, old=10, seed=seed)
        replay.add(numbered(0, 45), [0] * 45)
        assert [int(item.frames) for item in replay.recent] == [40, 41, 42, 43, 44]
        assert len(replay) == 15
        counts[[int(item.frames) for item in replay.old]] += 1
    # Each of the 40 is kept with chance 1/4: 75 of 300, standard deviation 7.5.
    assert counts.sum() == 3000
    assert np.abs(counts - 75).max() < 4.5 * 7.5


def test_half_of_a_batch_is_new_and_none_is_of_the_fold_that_is_kept_away() -> None:
    replay = Replay(recent=4, old=4, seed=0)
    replay.add(numbered(0, 8), [number % 2 for number in range(8)])
    batch = replay.sample(100, np.random.default_rng(0), without=1).flatten()
    assert int((batch >= 4).sum()) == 50
    assert set(batch.tolist()) == {0, 2, 4, 6}
    alone = Replay(recent=4, old=4, seed=0)
    alone.add(numbered(0, 2), [1, 1])
    assert set(alone.sample(20, np.random.default_rng(0), without=1).flatten().tolist()) == {0, 1}


def test_an_empty_buffer_says_so() -> None:
    with pytest.raises(ValueError, match="empty"):
        Replay(1, 1, 0).sample(1, np.random.default_rng(0))


# Frames ---------------------------------------------------------------------------------------------------------------


def test_stored_frames_come_back_within_half_a_step(band: Band) -> None:
    frames = FrontEnd(FRONT_END)(band(2.0, RATE), RATE)
    assert float((recall(store(frames)) - frames).abs().max()) <= 0.5 / 200 + 1e-6
    torch.testing.assert_close(from_power(to_power(frames)), frames, atol=1e-4, rtol=0)


def test_excerpts_are_spread_and_short_output_gets_silence() -> None:
    frames = torch.arange(100.0).expand(1, 1, 1, 100)
    assert cut(frames, 20, 2)[:, 0, 0, 0].tolist() == [20.0, 60.0]
    short = cut(frames[..., 50:60], 20, 2)
    assert short.shape == (1, 1, 1, 20)
    assert short[0, 0, 0, 9:11].tolist() == [59.0, 0.0]


def test_disguises_differ_and_stay_frames(band: Band) -> None:
    frames = FrontEnd(FRONT_END)(band(2.0, RATE), RATE).expand(64, -1, -1, -1)
    disguised = disguise(frames, torch.Generator().manual_seed(0), 0.05)
    assert disguised.shape == frames.shape
    assert float(disguised.min()) >= 0.0
    assert float(disguised.max()) < 1.6
    dark = (disguised[:, 0, -5:].mean(dim=(1, 2)) < 0.2).float().mean()
    assert float(dark) > 0.2  # a good part has lost its top bands
    assert torch.equal(disguised, disguise(frames, torch.Generator().manual_seed(0), 0.05))


def test_a_blend_has_the_blend_of_the_truths() -> None:
    frames = torch.tensor([0.0, 1.0, 1.0, 0.0])[:, None, None, None].expand(4, 2, 80, 10)
    blended, truth = mix(frames, torch.tensor([0.0, 1.0, 1.0, 0.0]), np.random.default_rng(1))
    torch.testing.assert_close(blended[:, 0, 0, 0], truth)
    assert float(truth.min()) >= 0.0
    assert float(truth.max()) <= 1.0


# Recordings -----------------------------------------------------------------------------------------------------------


def test_the_pack_ships_and_is_credited() -> None:
    pack = real.pack()
    assert len(pack.names) >= 10
    assert real.PACK.stat().st_size < 3e6
    header = weights.load_tensors(real.PACK)[1]
    credits = (Path(__file__).parents[2] / "docs" / "CREDITS.md").read_text(encoding="utf-8")
    section = credits.split("## Realness critic")[1].split("\n## ")[0].lower()
    for entry in header["about"]:
        artist, _, title = entry["recording"].partition(", ")
        assert artist.lower() in section, entry
        assert title.lower() in section, entry
        assert not any(word in entry["licence"].lower() for word in ("-sa", "-nc", "-nd"))


def test_no_recording_is_in_two_folds(material: real.Real) -> None:
    folds = material.folds(3, seed=1)
    assert sorted(e for fold in folds for recording in fold for e in recording) == list(range(len(material.of)))
    names = [{material.of[e] for recording in fold for e in recording} for fold in folds]
    assert all(len(one) == 2 for one in names)
    assert len(set.union(*names)) == 6


def test_files_that_cannot_be_used_are_skipped_and_told(band: Band, tmp_path: Path) -> None:
    for seed in range(2):
        write_wav(tmp_path / f"{seed}.wav", band(2.0, RATE, seed)[0], RATE)
    write_wav(tmp_path / "short.wav", band(0.5, RATE)[0], RATE)
    write_wav(tmp_path / "silent.wav", torch.zeros(2, 3 * RATE), RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    found = real.load(tmp_path)
    assert found.names == ("0.wav", "1.wav")
    assert sorted(Path(text.split()[0]).name for text in found.skipped if "decode" not in text) == [
        "short.wav", "silent.wav",
    ]  # fmt: skip
    assert len(found.skipped) == 3


def test_too_few_or_no_recordings_are_an_error(band: Band, tmp_path: Path) -> None:
    write_wav(tmp_path / "one.wav", band(2.0, RATE)[0], RATE)
    with pytest.raises(UserError, match="at least 2"):
        real.load(tmp_path)
    with pytest.raises(UserError, match="not found"):
        real.load(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", ["truncated", "of", "shape", "format"])
def test_a_damaged_pack_is_refused(tmp_path: Path, damage: str) -> None:
    tensors, header = load_file(real.PACK), weights.load_tensors(real.PACK)[1]
    path = tmp_path / "pack.safetensors"
    if damage == "of":
        header["of"] = header["of"][:-1]
    elif damage == "shape":
        tensors["frames"] = tensors["frames"][..., :100].contiguous()
    elif damage == "format":
        header["format"] = "hitchain-rater"
    weights.save_tensors(path, tensors, header)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UserError, match=r"pack\.safetensors"):
        real.load(path)


@pytest.mark.parametrize("kind", ["audio", "mel"])
def test_a_prepared_set_holds_the_same_recordings(tmp_path: Path, kind: str) -> None:
    recordings = tmp_path / "recordings"
    for seed in range(5):
        write_wav(recordings / f"song{seed}.wav", imitation(6.0, seed, batch=1)[0], RATE)
    settings = PrepareSettings(kind=kind, workers=1, validation_fraction=0.2, test_fraction=0.2)
    prepared = prepare({"kind": "folder", "path": str(recordings)}, tmp_path / "out", settings, say=lambda text: None)
    found = real.load(tmp_path / "out")
    assert set(found.names) == {entry.name for entry in prepared.entries if entry.split != "test"}
    assert found.skipped == ()
    whole = real.load(recordings)
    for index, name in enumerate(found.names):
        ours, files = found.of.index(index), whole.of.index(whole.names.index(Path(name).name))
        difference = (found.frames[ours].float() - whole.frames[files].float()).abs()
        assert float(difference[:, :60].median()) <= 3  # about a decibel: another rate, and a rounded place


def shared() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "data", parent.parent / "shared" / "data"):
            if (folder / "SOURCES.tsv").is_file():
                return folder
    return None


@pytest.mark.skipif(shared() is None, reason="the shared source material is not on this machine")
def test_the_pack_is_what_its_command_makes(tmp_path: Path) -> None:
    data = shared()
    assert data is not None
    made = build.build(data, tmp_path / "real.safetensors")
    shipped = real.pack()
    assert made.names == shipped.names
    assert made.of == shipped.of
    assert int((made.frames.int() - shipped.frames.int()).abs().max()) <= 1  # decoders may round differently
    assert not set(build.HELD_OUT) & set(build.RECORDINGS)


def test_building_from_nowhere_is_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([f"data={tmp_path}"]) == 2
    assert "SOURCES.tsv" in capsys.readouterr().err
    assert build.main([]) == 2
