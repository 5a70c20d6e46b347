"""What makes the appeal rater hard to fool: climbs, what climbed audio is worth, and how agreement is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hitchain import rater
from hitchain.errors import UserError
from hitchain.rater.appeal import build, corpus, examples, faults, fit, judge, rounds, transfer, tunes
from hitchain.rater.features import features
from hitchain.rater.frontend import FrontEnd

RATE = corpus.RATE
Band = Callable[..., Tensor]


def brightness(audio: Tensor) -> Tensor:
    """Energy of the differences between samples over the energy: any smooth, differentiable rating will do."""
    return (audio[..., 1:] - audio[..., :-1]).square().mean((1, 2)) / audio.square().mean((1, 2))


def test_a_waveform_climb_starts_untouched_and_raises_the_rating(band: Band) -> None:
    audio = torch.cat([band(1.0, RATE, 0), 0.01 * band(1.0, RATE, 1)])
    path = list(rounds.climb_waveform(brightness, audio, steps=10))
    assert len(path) == 11
    torch.testing.assert_close(path[0], audio)
    rated = torch.stack([brightness(heard) for heard in path])
    assert (rated[-1] > rated[0]).all()
    # No sample moves by more than 1.5 paces of its own item's level in a step, however quiet the item is.
    level = audio.square().mean((1, 2)).sqrt()
    assert ((path[1] - path[0]).abs().amax((1, 2)) <= 1.5 * rounds.WAVEFORM_PACE * level).all()


def test_items_of_a_batch_are_climbed_apart(band: Band) -> None:
    audio = torch.cat([band(1.0, RATE, 0), band(1.0, RATE, 1)])
    together = list(rounds.climb_waveform(brightness, audio, steps=3))[-1]
    alone = list(rounds.climb_waveform(brightness, audio[1:], steps=3))[-1]
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strength", [0.1, 0.4, 0.9])
def test_climbed_noise_is_worth_what_the_noise_fault_of_its_level_is(band: Band, strength: float) -> None:
    start = np.asarray(band(1.5, RATE)[0].numpy(), np.float64)
    noisy = faults.noise(start, RATE, strength, np.random.default_rng(3))
    worth = rounds.noise_target(*(torch.from_numpy(x)[None].float() for x in (start, noisy)), torch.tensor([1.0]))
    assert float(worth) == pytest.approx(1.0 - strength, abs=0.01)
    already_bad = rounds.noise_target(torch.ones(1, 2, 8), torch.ones(1, 2, 8), torch.tensor([0.3]))
    assert float(already_bad) == pytest.approx(0.3)


def test_a_climbed_chain_is_worth_less_the_further_it_moved_the_spectrum(band: Band) -> None:
    audio = band(1.5, RATE)
    frames = FrontEnd()(audio, RATE)
    worths = [float(rounds.change_target(frames, frames + k / 70.0, torch.tensor([1.0]))) for k in (0.0, 5.0, 30.0)]
    assert worths == pytest.approx([0.9, 0.5, 0.0], abs=1e-3)  # 0, 5 and 30 dB of 10 that ruin a recording


class Linear(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, frames: Tensor) -> Tensor:
        return (frames * self.weight).sum((1, 2, 3))


def test_the_gradient_penalty_of_a_linear_rating_is_its_squared_norm() -> None:
    weight = torch.randn(2, 80, 10, generator=torch.Generator().manual_seed(0))
    penalty = fit.gradient_penalty(Linear(weight), torch.randn(40, 2, 80, 10))
    assert penalty.item() == pytest.approx(float(weight.square().sum()), rel=1e-5)


def make_examples(groups: int = 12, size: int = 3, frames: int = 161) -> examples.Examples:
    random = np.random.default_rng(0)
    count = groups * size
    group = np.concatenate([np.repeat(np.arange(groups), size), [-1, -1]])
    return examples.Examples(
        random.random((count + 2, 2, 80, frames), np.float32).astype(np.float16),
        random.random(count + 2).astype(np.float32),
        [f"r{n // (2 * size)}" for n in range(count)] + [examples.WORST_CASE] * 2,
        group,
        [["noise"]] * (count + 2),
    )


def test_rounds_come_evenly_and_see_the_network_as_it_is() -> None:
    seen: list[tuple[int, int]] = []

    def feed_back(network: nn.Module, number: int) -> examples.Examples:
        seen.append((number, id(network)))
        return make_examples(4)

    recipe = fit.Recipe(averaging=False, waveform_rounds=2)
    network = fit.fit("mel_cnn", make_examples(), 6, 0, recipe=recipe, rounds=[(2, feed_back), (0, feed_back)])
    assert seen == [(0, id(network)), (1, id(network))]
    assert not network.training
    assert sorted(fit._due([(2, feed_back)], 300)) == [100, 200]


def test_climbed_crops_join_every_batch_and_are_ranked_among_themselves() -> None:
    batches = fit._Batches(make_examples(), 0)
    before = len(batches.draw()[1])
    batches.add(make_examples(4))
    frames, targets, recordings = batches.draw()
    assert len(frames) == len(targets) == len(recordings) == before + 4 * 3
    added = recordings[before:]
    assert [int((added == number).sum()) for number in added.unique()] == [3, 3, 3, 3]
    assert not set(added.tolist()) & set(recordings[:before].tolist())


def test_averaging_returns_other_weights_than_the_last() -> None:
    last = fit.fit("mel_cnn", make_examples(), 3, 0, recipe=fit.Recipe(averaging=False))
    averaged = fit.fit("mel_cnn", make_examples(), 3, 0, recipe=fit.Recipe(averaging=True))
    first, second = (next(network.parameters()) for network in (last, averaged))
    assert not torch.equal(first, second)


def test_fed_back_examples_hold_start_middle_and_end(band: Band) -> None:
    audio = torch.cat([band(1.6, RATE, seed) for seed in range(2)])
    begin = rounds.Starts(audio, torch.tensor([1.0, 0.4]), ["a", "b"])
    network = rater.load("appeal/0").networks[0].train()
    fed = rounds.feed_back(network, rounds.climb_waveform, begin, 0, chain=False)
    assert network.training
    assert fed.frames.shape[0] == 6
    assert fed.recordings == ["a"] * 3 + ["b"] * 3
    assert fed.groups.tolist() == [0, 0, 0, 1, 1, 1]
    assert fed.targets[0] == 1.0
    assert (np.diff(fed.targets.reshape(2, 3), axis=1) <= 1e-6).all()
    np.testing.assert_allclose(fed.frames[0], FrontEnd()(audio[:1], RATE)[0], atol=1e-3)


def test_a_recipe_with_climbed_effects_needs_what_climbs_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hardening"):
        build.feeding(fit.Recipe(chain_rounds=1), [], "first", tmp_path, 0)
    assert [count for count, _ in build.feeding(fit.Recipe(waveform_rounds=2), [], "first", tmp_path, 0)] == [2]


def test_agreement_is_read_off_at_the_same_climbed_gain() -> None:
    climbed = np.array([[0.0, 1.0], [1.0, 1.1], [3.0, 1.2]])
    judge_path = np.array([[5.0, 0.0], [6.0, 0.5], [4.0, 0.6]])
    reached, agreed = transfer.at_gain(climbed, judge_path, 2.0)
    np.testing.assert_allclose(reached, [2.0, 0.2])  # the second start never gains 2: its end counts
    np.testing.assert_allclose(agreed, [0.0, 0.6])  # half way from 6 to 4, less the 5 it began with
    value, low, high = transfer.transfer(reached, agreed)
    assert value == pytest.approx(0.6 / 2.2)
    assert low <= value <= high


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 2.0), st.floats(-1.0, 2.0))
def test_transfer_is_the_share_that_a_judge_hears(seed: int, gain: float, share: float) -> None:
    climbed = np.random.default_rng(seed).random((6, 9)).cumsum(0)
    reached, agreed = transfer.at_gain(climbed, 3.0 + share * climbed, gain)
    assert transfer.transfer(reached, agreed)[0] == pytest.approx(share, abs=1e-6)


def test_a_climb_is_followed_from_start_to_end(band: Band) -> None:
    audio = torch.cat([band(1.0, RATE, seed) for seed in range(3)])
    heard = transfer.follow(rounds.climb_waveform, audio, brightness, every=8)
    assert heard.shape == (4, 3, 2, RATE)  # steps 0, 8, 16 and the last, 20
    path = transfer.judged(brightness, heard)
    assert (np.diff(path, axis=0) > 0).all()


def test_trees_judge_audio_by_its_features(band: Band) -> None:
    audio = torch.cat([band(1.5, RATE, seed) for seed in range(6)])
    noisy = audio + 0.3 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    heard = torch.cat([audio, noisy])
    rows = np.stack([features(item.numpy(), RATE) for item in heard])
    made = examples.Examples(
        np.repeat(rows, 4, axis=0).astype(np.float32), np.repeat([1.0, 0.0], 24).astype(np.float32),
        ["r"] * 48, np.arange(48), [[]] * 48,
    )  # fmt: skip
    fitted = judge.fit_trees(made)
    ratings = judge.rated_by_trees(fitted)(heard)
    np.testing.assert_allclose(ratings, fitted.predict(rows), rtol=1e-5)
    assert ratings[:6].min() > ratings[6:].max()


def test_one_part_alone_has_no_balance_and_stands_in_the_middle() -> None:
    scale = tunes.Tune("scale", tuple((n / 2, 0.5, 60 + n % 8) for n in range(32)), 0, False, 4.0)
    parts = tunes.arrange(scale, None, 120.0, 8.0, np.random.default_rng(0))
    for seed in range(30):
        alone = tunes.alone(parts, np.random.default_rng(seed))
        assert alone.pan == 64
        assert any(np.array_equal(alone.notes, part.notes) for part in parts)
        (worse,) = tunes.degrade_notes([alone], 0.9, np.random.default_rng(seed))
        assert worse.volume == alone.volume


def test_noise_that_pleases_the_shipped_rater_does_not_please_the_trees(band: Band, music: Tensor) -> None:
    appeal, trees = rater.load("appeal"), rater.load("appeal/trees")
    audio = torch.cat([music[..., : 2 * RATE], band(2.0, RATE)])
    heard = transfer.follow(rounds.climb_waveform, audio, lambda x: appeal(x, RATE), every=20)
    climbed = transfer.judged(lambda x: appeal(x, RATE), heard)
    judged = transfer.judged(lambda x: trees(x, RATE), heard)
    assert (climbed[-1] > climbed[0]).all()
    assert (judged[-1] - judged[0]).mean() < 0.25 * (climbed[-1] - climbed[0]).mean()
