"""The production environment and its agents: legal music, honest rewards, trainings that go on, and learning."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("sb3_contrib")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from hitchain.chain import reinforce  # noqa: E402
from hitchain.chain.objective import RaterFailed  # noqa: E402
from hitchain.chain.optimizers.settings import read_settings  # noqa: E402
from hitchain.chain.reinforce import agent, checkpoint, evaluate, realness  # noqa: E402
from hitchain.chain.reinforce.diversity import diversity  # noqa: E402
from hitchain.chain.reinforce.environment import ProductionEnv  # noqa: E402
from hitchain.chain.reinforce.episode import HOLD, REST, Episode, Task, observation_size  # noqa: E402
from hitchain.chain.reinforce.machine import Machine  # noqa: E402
from hitchain.chain.reinforce.play import play, random_play  # noqa: E402
from hitchain.chain.reinforce.settings import ProductionSettings, TrainingSettings  # noqa: E402
from hitchain.chain.reinforce.train import Training  # noqa: E402
from hitchain.chain.reinforce.vector import UNSEEN, ProductionVecEnv  # noqa: E402
from hitchain.cli import main  # noqa: E402
from hitchain.errors import UserError  # noqa: E402

C_MAJOR = {0, 2, 4, 5, 7, 9, 11}
CHEAP = {
    "chain": ("notes=none", "notes.file=demo", "effects=[parametric_eq]", "mastering=none"),
    "knobs": ("instrument.brightness", "effects.parametric_eq.high_shelf_gain", "effects.parametric_eq.low_shelf_gain"),
    "sample_rate": 16_000,
    "slots": 4,
}


class Bright(torch.nn.Module):
    """Rates by how high the spectrum lies: its centroid in kHz."""

    def forward(self, audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
        power = torch.fft.rfft(audio.mean(dim=1)).abs().square()
        frequencies = torch.linspace(0.0, sample_rate / 2000.0, power.shape[-1])
        return (power * frequencies).sum(-1) / power.sum(-1).clamp_min(1e-9)


def cheap(**more: object) -> Machine:
    return Machine(read_settings(ProductionSettings, {**CHEAP, "realness": 0.0, **more}, "test"), rater=Bright())


def written(machine: Machine, entries: list[int], positions: tuple[float, ...] = (0.5, 0.5, 0.5)) -> Episode:
    episode = Episode(Task(0, "major", 120.0, positions), machine.settings)
    for entry in entries:
        special = {REST: episode.actions.rest, HOLD: episode.actions.hold}
        assert episode.act(special.get(entry, entry - machine.settings.lowest))
    return episode


# The rules -----------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(5, 12))
def test_legal_play_is_music_in_the_key(seed: int, bars: int, leap: int) -> None:
    settings = ProductionSettings(bars=bars, leap=leap)
    random = np.random.default_rng(seed)
    task = Task.draw(random, len(settings.knobs))
    episode = Episode(task, settings)
    while not episode.finished:
        assert observation_size(settings) == len(episode.observation())
        assert episode.act(int(random.choice(np.flatnonzero(episode.masks()))))
    notes = episode.notes()
    steps = {"major": C_MAJOR, "minor": {0, 2, 3, 5, 7, 8, 10}}.get(task.scale)
    assert all(settings.lowest <= note.pitch <= settings.highest for note in notes)
    assert steps is None or all((note.pitch - task.key) % 12 in steps for note in notes)
    assert all(abs(one.pitch - two.pitch) <= leap for one, two in pairwise(notes))
    assert all(one.start + one.length <= two.start for one, two in pairwise(notes))
    bar_of = [{(note.start + slot) // settings.slots for slot in range(note.length)} for note in notes]
    assert all(len(bar) == 1 for bar in bar_of)
    assert set.union(*bar_of) == set(range(bars))
    assert ((episode.positions > 0.0) & (episode.positions < 1.0)).all()


def test_what_is_illegal_is_masked_and_replaced() -> None:
    episode = Episode(Task(0, "major", 120.0, (0.5,) * 8), ProductionSettings())
    masks = episode.masks()
    assert {55 + i for i in np.flatnonzero(masks[:25])} == {p for p in range(55, 80) if p % 12 in C_MAJOR}
    assert not masks[episode.actions.hold]
    assert not masks[episode.actions.up]
    assert not episode.act(episode.actions.up)
    assert episode.act(episode.written[0] - 55)
    assert not episode.masks()[episode.written[0] - 55 - 12 : episode.written[0] - 55 - 9].any()


# The sound -----------------------------------------------------------------------------------------------------


def test_a_written_note_is_heard_at_its_pitch_and_time() -> None:
    machine = cheap()
    (audio,) = machine.render([written(machine, [REST, 69, HOLD, REST])]).mean(dim=1).numpy()
    rate = machine.song.sample_rate
    silence, note = audio[: round(0.45 * rate)], audio[round(0.55 * rate) : round(1.45 * rate)]
    spectrum = np.abs(np.fft.rfft(note * np.hanning(len(note)), 4 * rate))
    peaks = np.flatnonzero(spectrum > 0.1 * spectrum.max())
    assert peaks[0] / 4 == pytest.approx(440.0, abs=3.0)
    assert np.square(silence).mean() < 1e-6 * np.square(note).mean()


def test_a_batch_sounds_as_its_episodes_do_alone_and_the_song_stays_as_it_is() -> None:
    machine = cheap()
    before = machine.song.tracks["solo"].notes
    episodes = [written(machine, [60, HOLD, 64, REST], (0.2, 0.9, 0.5)), written(machine, [67, 69, 71, 72])]
    together = machine.hear(episodes)
    for index, episode in enumerate(episodes):
        alone = machine.hear([episode])
        assert torch.allclose(together.audio[index], alone.audio[0], atol=1e-5)
        assert np.allclose(together.bands[index], alone.bands[0], atol=1e-4)
    assert machine.song.tracks["solo"].notes is before


def test_a_knob_goes_to_its_own_parameter() -> None:
    machine = cheap(knobs=("effects.parametric_eq.high_shelf_gain", "instrument.brightness"))
    dull, bright = (written(machine, [60, 62, 64, 65], (0.5, brightness)) for brightness in (0.05, 0.95))
    low, high = machine.hear([dull, bright]).rating  # the song has the instrument before the effects
    assert high > 1.3 * low
    with pytest.raises(UserError, match="brightnes"):
        cheap(knobs=("instrument.brightnes",))


# The environment -----------------------------------------------------------------------------------------------


def test_it_passes_the_checkers() -> None:
    """Gymnasium's own, as it is registered, and that of stable-baselines3."""
    from stable_baselines3.common.env_checker import check_env as check_by_baselines

    environment = gymnasium.make(f"hitchain.chain.reinforce:{reinforce.ENVIRONMENT}", realness=0.0)
    assert isinstance(environment.unwrapped, ProductionEnv)
    check_env(environment.unwrapped)
    check_by_baselines(environment.unwrapped)


def play_once(environment: ProductionEnv, seed: int) -> tuple[list[float], dict[str, float], list[np.ndarray]]:
    random = np.random.default_rng(seed)
    observation, _ = environment.reset(seed=seed)
    rewards, seen, done, info = [], [observation], False, {}
    while not done:
        action = random.choice(np.flatnonzero(environment.action_masks()))
        observation, reward, done, _, info = environment.step(action)
        rewards.append(reward)
        seen.append(observation)
    return rewards, info, seen


def test_rewards_add_up_to_what_the_end_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realness, "FIRST_STEPS", 1)
    environment = ProductionEnv(cheap(realness=0.25, outputs=1))
    for seed in (1, 2):
        rewards, info, _ = play_once(environment, seed)
        assert sum(rewards) == pytest.approx(info["rating"] + 0.25 * info["realness"], abs=1e-5)
        assert sum(reward != 0.0 for reward in rewards) <= 3  # the notes, and both sweeps
    assert environment.machine.realness is not None
    assert environment.machine.realness.critic.updates == 2
    assert info["realness"] != pytest.approx(np.log(0.5), abs=1e-6)  # by then it had learnt


@given(st.integers(0, 2**31))
def test_a_seed_decides_an_episode(seed: int) -> None:
    machine = cheap()
    (first, second), other = (
        (play_once(ProductionEnv(machine), seed) for _ in range(2)),
        Task.draw(np.random.default_rng(seed + 1), 3),
    )
    assert first[0] == second[0]
    assert all(np.array_equal(one, two) for one, two in zip(first[2], second[2], strict=True))
    assert other != Task.draw(np.random.default_rng(seed), 3)


def test_environments_side_by_side_are_as_each_alone() -> None:
    machine = cheap()
    together = ProductionVecEnv(machine, 3, seed=5)
    alone = [ProductionEnv(machine) for _ in range(3)]
    observations = together.reset()
    for index, environment in enumerate(alone):
        observation, _ = environment.reset(seed=together._seed(index - 3))
        assert np.array_equal(observations[index], observation)
    for _ in range(machine.settings.steps):
        actions = np.array([np.flatnonzero(mask)[-1] for mask in together.env_method("action_masks")])
        _, rewards, dones, infos = together.step(actions)
        for index, environment in enumerate(alone):
            observation, reward, done, _, _ = environment.step(actions[index])
            assert rewards[index] == pytest.approx(reward, abs=1e-4)
            assert dones[index] == done
            if done:
                assert np.allclose(infos[index]["terminal_observation"], observation, atol=1e-4)
    assert max(together._seed(index) for index in range(1000)) < UNSEEN


def test_the_critic_learns_at_a_pace_first_then_only_when_fooled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realness, "FIRST_STEPS", 0)
    listening = realness.Realness(ProductionSettings(outputs=4, warm=2))
    learnt: list[int] = []
    monkeypatch.setattr(listening.critic, "update", lambda audio, rate: learnt.append(len(audio)))
    verdicts = iter([-1.0, -1.0, -1.0, 3.0, 3.0])
    monkeypatch.setattr(
        realness.Critic, "__call__", lambda self, audio, rate: torch.full((len(audio),), next(verdicts))
    )
    after = []
    for _ in range(5):
        listening.take(torch.zeros(2, 2, 16_000), 16_000)
        listening.take(torch.zeros(2, 2, 16_000), 16_000)
        after.append(len(learnt))
    assert after == [1, 2, 2, 3, 4]  # means of the last three: -1, -1, -1, 0.33, 1.67
    assert set(learnt) == {4}


# Training ------------------------------------------------------------------------------------------------------


def training(folder: Path | None = None, rollouts: int = 3, **more: object) -> Training:
    settings = TrainingSettings(rollouts=rollouts, envs=4, episodes=2, batch=16, epochs=2, hidden=(16,))
    started = Training(cheap(**more), settings, seed=3)
    if folder is not None:
        assert checkpoint.restore(folder, started)
    return started


def test_a_training_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realness, "FIRST_STEPS", 2)
    critic = {"realness": 0.1, "outputs": 8}
    whole, first = training(**critic), training(**critic)
    while not whole.finished:
        whole.advance()
    first.advance()
    checkpoint.save(tmp_path, first)
    torch.rand(3)
    np.random.rand(3)  # noqa: NPY002 - what others draw must not matter
    second = training(tmp_path, **critic)
    while not second.finished:
        second.advance()
    ours, theirs = whole.model.policy.state_dict(), second.model.policy.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert whole.history == second.history
    assert whole.machine.realness is not None
    assert second.machine.realness is not None
    critics = whole.machine.realness.critic.state(), second.machine.realness.critic.state()
    assert all(torch.equal(value, critics[1][key]) for key, value in critics[0].items())


def test_a_rater_that_fails_leaves_the_rollouts_before() -> None:
    failing = training()
    failing.advance()
    kept = {key: value.clone() for key, value in failing.model.policy.state_dict().items()}
    for answer in (torch.full((4,), torch.nan), torch.zeros(7)):
        failing.machine.rater = lambda audio, rate, answer=answer: answer
        with pytest.raises(RaterFailed):
            failing.advance()
    assert failing.rollout == 1
    assert all(torch.equal(value, kept[key]) for key, value in failing.model.policy.state_dict().items())


def test_a_training_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    training(rollouts=1).advance()
    drawn = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    assert drawn == (torch.rand(1), np.random.rand())  # noqa: NPY002


def test_an_agent_learns_what_a_rater_likes(tmp_path: Path) -> None:
    """A rater that likes high spectra: after 640 episodes the agent beats random play on seeds it never saw."""
    machine = cheap()
    settings = TrainingSettings(rollouts=10, envs=16, episodes=4, learning_rate=3e-3, batch=128)
    learning = Training(machine, settings, seed=0)
    while not learning.finished:
        learning.advance()
    agent.save(tmp_path / agent.NAME, learning.model.policy, machine.settings, {})
    policy, own = agent.load(tmp_path)
    assert own == machine.settings
    players = evaluate.compare(machine, agent.choosing(policy, 0), 30, {})
    result = evaluate.summary(players)["judges"]["rating"]
    assert result["margins"]["random"]["low"] > 0.1
    assert result["margins"]["random"]["better"] > 0.8
    assert learning.history[-1]["entropy"] < learning.history[0]["entropy"] <= 1.0


def test_an_agent_is_a_plain_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    machine = cheap()
    policy = agent.create(machine.settings, [8])
    agent.save(tmp_path / "a.safetensors", policy, machine.settings, {"seed": 1})
    with safe_open(str(tmp_path / "a.safetensors"), framework="pt") as file:
        assert json.loads(file.metadata()["hitchain"])["environment"]["slots"] == 4
    loaded, _ = agent.load(tmp_path / "a.safetensors")
    observations = np.random.default_rng(0).normal(size=(5, observation_size(machine.settings))).astype(np.float32)
    masks = np.ones((5, 30), dtype=np.bool_)
    assert np.array_equal(
        agent.choosing(policy, 7)(observations, masks), agent.choosing(loaded, 7)(observations, masks)
    )
    other = read_settings(ProductionSettings, {**CHEAP, "slots": 8}, "test")
    agent.save(tmp_path / "b.safetensors", policy, other, {})
    with pytest.raises(UserError, match="does not fit"):
        agent.load(tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:500])
    with pytest.raises(UserError, match="safetensors"):
        agent.load(tmp_path / "c.safetensors")


# The proof -----------------------------------------------------------------------------------------------------


def test_the_interval_is_scipys() -> None:
    random = np.random.default_rng(4)
    ours, theirs = random.normal(0.3, 1.0, 40), random.normal(0.0, 1.0, 40)
    found = evaluate.difference(ours, theirs)
    reference = scipy.stats.bootstrap((ours - theirs,), np.mean, method="percentile", n_resamples=20_000, rng=0)
    assert found["value"] == pytest.approx((ours - theirs).mean())
    assert found["low"] == pytest.approx(reference.confidence_interval.low, abs=0.02)
    assert found["high"] == pytest.approx(reference.confidence_interval.high, abs=0.02)


def test_diversity_is_nothing_where_all_is_alike() -> None:
    machine = cheap(sweeps=0)
    alike = [written(machine, [60, HOLD, 64, REST]) for _ in range(3)]
    assert diversity(alike) == {"melody": 0.0, "melodies": pytest.approx(1 / 3), "knobs": 0.0, "sound": 0.0}
    other = written(machine, [60, HOLD, 65, REST], (0.5, 0.5, 0.9))
    measured = diversity([alike[0], other])
    assert measured["melody"] == 0.25
    assert measured["knobs"] == pytest.approx(0.2 / 3)


def test_random_play_is_even_over_what_is_legal() -> None:
    masks = np.tile(np.array([[True, False, True, True]]), (3000, 1))
    counts = np.bincount(random_play(1)(np.zeros((3000, 1), dtype=np.float32), masks), minlength=4)
    assert counts[1] == 0
    assert scipy.stats.chisquare(counts[[0, 2, 3]]).pvalue > 1e-3
    machine = cheap()
    assert [p.rating for p in play(machine, [1, 2], random_play(0))] == [
        p.rating for p in play(machine, [1, 2], random_play(0))
    ]


SMALL = [
    "environment.realness=0",
    "environment.chain=['notes=none','notes.file=demo','effects=[parametric_eq]','mastering=none']",
    "environment.knobs=[instrument.brightness]", "environment.slots=4", "training.rollouts=2", "training.envs=2",
    "training.episodes=1", "seeds=3", "judges=[]",
]  # fmt: skip


def test_the_command_trains_plays_and_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    assert main(["produce", f"out={folder}", *SMALL]) == 0
    assert "3 unseen seeds" in capsys.readouterr().out
    result = json.loads((folder / "result.json").read_text())
    assert result["command"] == "produce"
    assert len((folder / "history.jsonl").read_text().splitlines()) == 2
    assert len(list((folder / "sounds").glob("*.wav"))) == 9
    assert main(["produce", f"agent={folder}", f"out={tmp_path / 'played'}", "seeds=3", "judges=[]"]) == 0
    again = json.loads((tmp_path / "played" / "result.json").read_text())
    assert again["judges"] == result["judges"]
    (folder / "result.json").unlink()  # as if killed before the end
    agent_before = (folder / agent.NAME).read_bytes()
    assert main(["produce", f"resume={folder}"]) == 0
    assert (folder / agent.NAME).read_bytes() == agent_before
    capsys.readouterr()
    for words, said in (
        ([f"resume={folder}"], "finished already"),
        (["environment.slots=1"], "environment.slots"),
        (["training.rollout=2"], "rollouts"),
        ([f"agent={tmp_path / 'none'}"], "not found"),
        (["training.envs=3", "training.episodes=1"], "outputs"),
        (["seeds=1"], "seeds"),
    ):
        assert main(["produce", f"out={tmp_path / 'wrong'}", *words]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinforce, "find_spec", lambda name: None if name == "sb3_contrib" else True)
    with pytest.raises(UserError, match=r"sb3_contrib.*hitchain\[reinforce\]"):
        reinforce.needed()
