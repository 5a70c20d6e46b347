"""Crops of a prepared set: which, in what order, augmented; by worker processes where asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEndSettings
from hitchain.rater.shards.layout import SAMPLE_RATE
from hitchain.rater.training.augment import AugmentSettings, Draw, augment
from hitchain.rater.training.frames import augment_frames, check, normalise


class Recordings(Protocol):
    """What training needs of a prepared set (`hitchain.rater.shards.Prepared`)."""

    @property
    def kind(self) -> str: ...

    @property
    def entries(self) -> Sequence[Any]: ...

    def crop(self, index: int, start: int, length: int) -> NDArray[np.float32]: ...


class Cropper:
    """Makes crops of a set, the same for the same numbers.

    A crop is (2, samples) of audio at `SAMPLE_RATE`, or (2, bands, frames) of a mel set.
    """

    def __init__(self, recordings: Recordings, seconds: float, settings: AugmentSettings, front_end: FrontEndSettings):
        self.recordings, self.settings, self.front_end = recordings, settings, front_end
        self.mel = recordings.kind == "mel"
        if self.mel:
            check(settings)
        self.length = round(seconds / front_end.hop_seconds) if self.mel else round(seconds * SAMPLE_RATE)

    def training(self, index: int, turn: int, turns: int, random: np.random.Generator) -> Tensor:
        """A crop of a recording for training, the `turn`-th of `turns` in this epoch."""
        draw = Draw.of(random)
        needed = round(self.length * self.settings.reach)
        share = self.settings.crop * draw.place + (1.0 - self.settings.crop) * (turn + 0.5) / turns
        piece = self._read(index, round(self._room(index, needed) * share), needed)
        if self.mel:
            return augment_frames(piece, self.length, self.front_end, self.settings, draw)
        return augment(piece, SAMPLE_RATE, self.length, self.settings, draw)

    def steady(self, index: int, count: int) -> Tensor:
        """Crops evenly spread over a recording, unchanged: (at most count, ...), fewer where they would be the same."""
        room = self._room(index, self.length)
        starts = sorted({round(room * (k + 0.5) / count) for k in range(count)})
        pieces = [self._read(index, start, self.length) for start in starts]
        return torch.stack([normalise(piece, self.front_end) if self.mel else piece for piece in pieces])

    def _room(self, index: int, length: int) -> int:
        return max(0, int(self.recordings.entries[index].length) - length)

    def _read(self, index: int, start: int, length: int) -> Tensor:
        """A piece of a recording; one that is shorter than the piece is repeated."""
        has = int(self.recordings.entries[index].length)
        piece = torch.from_numpy(np.array(self.recordings.crop(index, start, min(length, has)), dtype=np.float32))
        repeats = -(-length // piece.shape[-1])
        return piece.repeat(*[1] * (piece.ndim - 1), repeats)[..., :length] if repeats > 1 else piece


class Batch(NamedTuple):
    """A batch of crops: (batch, 2, ...), and the recording each is of, by its place among the training recordings."""

    crops: Tensor
    songs: Tensor


class BatchOrder:
    """Which crops each batch of an epoch holds.

    A crop's number says its song (number modulo songs) and which of the song's crops in this epoch it is. With A/B
    sampling half of a batch is from the songs of set A, drawn as often as it takes.

    Args:
        songs: how many songs train.
        top: the songs of set A; None for plain sampling.
        fewest: a last batch with fewer crops is left out: batch normalisation needs two, and every process one.
    """

    def __init__(
        self, songs: int, crops_per_song: int, batch_size: int, seed: int, top: NDArray[np.bool_] | None = None,
        fewest: int = 2,
    ) -> None:  # fmt: skip
        self.songs, self.turns, self.batch_size, self.seed, self.top = songs, crops_per_song, batch_size, seed, top
        self.fewest = fewest

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch, each of crop numbers, in an order that follows from the seed and the epoch."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(self.songs * self.turns)
        if self.top is not None:
            order = _interleaved(order, self.top[order % self.songs], random)
        batches = [order[k : k + self.batch_size] for k in range(0, len(order), self.batch_size)]
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) < self.fewest else batches


def _interleaved(order: NDArray[np.int64], is_top: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.int64]:
    """A, B, A, B, ...: as many crops as before, those of the smaller set again and again."""
    half = -(-len(order) // 2)
    sides = []
    for side in (order[is_top], order[~is_top]):
        again = [random.permutation(side) for _ in range(-(-half // len(side)) - 1)]
        sides.append(np.concatenate([side, *again])[:half])
    return np.stack(sides, axis=1).reshape(-1)[: len(order)]


class CropBatches(torch.utils.data.Dataset[Batch | UserError]):
    """The batch of a place in the training: (epoch, its number in the epoch); errors are handed over as values."""

    def __init__(self, cropper: Cropper, indices: Sequence[int], order: BatchOrder, share: slice = slice(None)) -> None:
        self.cropper, self.indices, self.order, self.share = cropper, list(indices), order, share
        self._epoch: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    def __getitem__(self, where: tuple[int, int]) -> Batch | UserError:
        epoch, number = where
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.order.batches(epoch))
        order, chosen = self.order, list(enumerate(self._epoch[1][number]))[self.share]
        crops, songs = [], []
        try:
            for place, crop in chosen:
                song, turn = int(crop) % order.songs, int(crop) // order.songs
                random = np.random.default_rng([order.seed, 1, epoch, number, place])
                crops.append(self.cropper.training(self.indices[song], turn, order.turns, random))
                songs.append(song)
        except UserError as error:
            return error
        return Batch(torch.stack(crops), torch.tensor(songs, dtype=torch.int64))


def load(batches: CropBatches, places: Sequence[tuple[int, int]], workers: int) -> Iterator[Batch]:
    """The batches of these places in order, made ahead by worker processes where there are any.

    Raises:
        UserError: a recording can no longer be read.
    """
    loader: Any = map(batches.__getitem__, places)
    if workers > 0:
        # Forked: no file is opened again, and no module imported. Workers use one thread each and no GPU.
        loader = torch.utils.data.DataLoader(
            batches, batch_size=None, sampler=places, num_workers=workers, multiprocessing_context="fork"
        )
    for batch in loader:
        if isinstance(batch, UserError):
            raise batch
        yield Batch(*batch)
