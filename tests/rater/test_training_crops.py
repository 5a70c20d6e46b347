"""Crops and batches: the same for the same seed and place, whoever makes them, and in the order asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recordings import Memory, tones_and_hisses

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.training.augment import OFF, AugmentSettings
from hitchain.rater.training.crops import BatchOrder, CropBatches, Cropper, load


def ramp(length: int) -> Memory:
    """A recording whose samples say where they are."""
    memory = tones_and_hisses(1, 1)
    piece = np.tile(np.arange(length, dtype=np.float32) / length, (2, 1))
    return Memory([piece], [replace(memory.entries[0], length=length)])


def test_crops_repeat_by_seed_and_differ_between_seeds() -> None:
    cropper = Cropper(tones_and_hisses(2, 2), 1.0, AugmentSettings(), FrontEndSettings())
    first, again, other = (cropper.training(1, 0, 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (2, 32_000)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_where_crops_are_taken() -> None:
    cropper = Cropper(ramp(128_000), 1.0, replace(OFF, crop=1.0), FrontEndSettings())
    starts = [float(cropper.training(0, 0, 1, np.random.default_rng(seed))[0, 0]) * 128_000 for seed in range(200)]
    assert min(starts) < 0.1 * 96_000
    assert max(starts) > 0.9 * 96_000
    fixed = Cropper(ramp(128_000), 1.0, OFF, FrontEndSettings())
    places = {float(fixed.training(0, turn, 2, np.random.default_rng(5))[0, 0]) * 128_000 for turn in (0, 1)}
    assert places == {24_000.0, 72_000.0}
    assert fixed.steady(0, 3)[:, 0, 0].mul(128_000).tolist() == [16_000.0, 48_000.0, 80_000.0]


def test_short_recordings_repeat_to_fill_a_crop() -> None:
    memory = ramp(20_000)
    crop = Cropper(memory, 1.0, OFF, FrontEndSettings()).training(0, 0, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(crop[:, :20_000], memory.pieces[0])
    np.testing.assert_array_equal(crop[:, 20_000:], memory.pieces[0][:, :12_000])


def test_an_epoch_hears_every_song_and_the_next_in_another_order() -> None:
    order = BatchOrder(songs=10, crops_per_song=3, batch_size=8, seed=0)
    first, second = (np.concatenate(order.batches(epoch)) for epoch in (0, 1))
    assert np.array_equal(np.sort(first), np.arange(30))
    assert np.array_equal(np.sort(second), np.arange(30))
    assert not np.array_equal(first, second)
    assert [len(batch) for batch in BatchOrder(9, 1, 4, 0).batches(0)] == [4, 4]  # a batch of one is left out


def test_ab_batches_are_half_from_each_set() -> None:
    top = np.arange(20) < 4
    order = BatchOrder(songs=20, crops_per_song=2, batch_size=8, seed=0, top=top)
    batches = order.batches(0)
    assert sum(map(len, batches)) == 40
    assert all(top[batch % 20].sum() == len(batch) // 2 for batch in batches)


def test_workers_make_the_same_batches_and_hand_over_errors() -> None:
    memory = tones_and_hisses(6, 3)
    cropper = Cropper(memory, 1.0, AugmentSettings(eq_db=6.0, noise=0.5), FrontEndSettings())
    batches = CropBatches(cropper, [0, 2, 4, 5], BatchOrder(4, 1, 2, seed=7))
    places = [(0, 0), (0, 1), (1, 0)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone, together = (list(load(batches, places, workers)) for workers in (0, 2))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.crops, other.crops)
        assert torch.equal(one.songs, other.songs)

    def damaged(index: int, start: int, length: int) -> np.ndarray:
        raise UserError("shard 00000.npy is damaged")

    memory.crop = damaged  # type: ignore[method-assign]
    for workers in (0, 1):
        with pytest.raises(UserError, match=r"^shard 00000.npy is damaged$"):
            list(load(batches, places, workers))
