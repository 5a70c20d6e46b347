"""Crops and batches: the same for the same seed and place, whoever makes them, and in the order asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from recordings import Memory, tones_and_hisses

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd, FrontEndSettings
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


def test_crops_of_mel_sets_are_what_the_front_end_makes_of_the_audio() -> None:
    """A loud crop of a song that is quiet elsewhere: its frames, taken from those of the whole, are its own."""
    audio = tones_and_hisses(2, 2, seconds=4.0)
    loud = np.where(np.arange(128_000) > 64_000, 1.0, 0.1).astype(np.float32)
    audio.pieces[1] = audio.pieces[1] * loud
    front_end = FrontEnd()
    frames = front_end(torch.from_numpy(audio.pieces[1])[None], 32_000)[0].numpy()
    entry = replace(audio.entries[1], length=frames.shape[-1])
    mel = Memory([frames], [entry], kind="mel", front_end=front_end.settings.as_dict())
    cropper = Cropper(mel, 1.0, OFF, front_end.settings)
    heard = cropper.steady(0, 3)[2]
    start = round((frames.shape[-1] - 50) * 2.5 / 3) * 640
    expected = front_end(torch.from_numpy(audio.pieces[1][:, start : start + 32_000])[None], 32_000)[0]
    # At the ends the crop's own frames mirror the audio; bands under two bins wide are rougher.
    np.testing.assert_allclose(heard[0, 8:, 3:47], expected[0, 8:, 3:47], atol=0.02)
    again = cropper.training(0, 2, 3, np.random.default_rng(0))
    np.testing.assert_allclose(again, heard, atol=1e-4)


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
