"""The audio tower: sound -> a place among the songs, so that a track nobody has played yet can be placed.

Two towers meet in one space (van den Oord, Dieleman and Schrauwen 2013, with a contrastive loss as in later work):
the songs' side is the embedding's `before` vectors about their mean, the audio's side a small network on the rater's
log-mel front end. It is trained to point where the song's own vector points: softmax over all training songs of
cosine / temperature, plus 1 - cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hitchain.errors import UserError
from hitchain.rater.frontend import FrontEnd
from hitchain.rater.playlist.embedding import Embedding, Vectors
from hitchain.rater.rater import check_audio

LONGEST_SECONDS = 60.0
"""Of a whole song, at most so much is heard: its middle."""


@dataclass(frozen=True)
class TowerSettings:
    """How a tower is trained.

    Attributes:
        epochs: passes over the songs, one random crop of each.
        crop_seconds: length of a crop, at most.
        batch_size, learning_rate, weight_decay: of AdamW, the rate falling to 0 along a cosine.
        temperature: of the contrastive softmax.
        seed: of everything random.
    """

    epochs: int = 40
    crop_seconds: float = 8.0
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    temperature: float = 0.1
    seed: int = 0


class Tower(nn.Module):
    """Places audio among songs.

    `centre` and `radius` are the mean of the songs' vectors and their mean distance from it. The network only says in
    which direction from the centre a song lies: the distance goes with how often it was heard, which no sound tells.

    Shape:
        - audio: (batch, channels, samples), channels 1 or 2, at least one second at 8 to 192 kHz
        - output: (batch, dimensions), a vector like the embedding's `before`; differentiable to the audio
    """

    centre: Tensor
    radius: Tensor

    def __init__(self, dimensions: int, width: int = 16) -> None:
        super().__init__()
        self.front_end = FrontEnd()
        widths = (2, width, 2 * width, 3 * width, 4 * width)
        self.layers = nn.Sequential(*(_convolution(widths[i], widths[i + 1]) for i in range(4)))
        rows = -(-self.front_end.settings.mel_bands // 16)
        self.mix = nn.Sequential(nn.Conv1d(4 * width * rows, 96, 1), nn.SiLU())
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(2 * 96, dimensions))
        self.register_buffer("centre", torch.zeros(dimensions))
        self.register_buffer("radius", torch.ones(()))

    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        return self.centre + self.radius * self.direction(audio, sample_rate)

    def direction(self, audio: Tensor, sample_rate: int) -> Tensor:
        """Unit vectors (batch, dimensions) from the songs' centre; `UserError` for audio that cannot be heard."""
        check_audio(audio, sample_rate)
        return self.of_frames(self.front_end(audio, sample_rate))

    def of_frames(self, frames: Tensor) -> Tensor:
        """Unit vectors (batch, dimensions) of the front end's frames (batch, 2, bands, frames)."""
        features = self.mix(self.layers(frames).flatten(1, 2))
        deviation = torch.sqrt(features.var(dim=-1, correction=0) + 1e-4)
        return functional.normalize(self.head(torch.cat([features.mean(dim=-1), deviation], dim=-1)), dim=-1)


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


def train(
    embedding: Embedding,
    recordings: Mapping[str, Path | tuple[Tensor, int]],
    settings: TowerSettings | None = None,
    progress: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Tower:
    """A tower that places songs of the embedding by their recordings.

    Args:
        recordings: {song: a sound file, or audio (channels, samples) and its sample rate}; songs that the embedding
            does not hold are left aside.
        progress: told of every epoch and its mean loss.

    Raises:
        UserError: fewer than eight recordings are of the embedding's songs, or one cannot be read.
    """
    settings = settings or TowerSettings()
    songs = [song for song in sorted(recordings) if song in embedding.songs]
    if len(songs) < 8:
        raise UserError(f"{len(songs)} recordings bear the name of a song of the playlists; a tower needs 8 or more.")
    targets = torch.from_numpy(embedding.centred()[[embedding.songs.index(song) for song in songs]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        tower = Tower(targets.shape[1])
        frames = [_frames(tower.front_end, recordings[song]) for song in songs]
        _place(tower, embedding.before)
        _fit(tower, frames, targets, settings, progress)
    return tower.eval().requires_grad_(False)


def _place(tower: Tower, before: Vectors) -> None:
    centre = before.mean(axis=0)
    tower.centre.copy_(torch.from_numpy(centre))
    tower.radius.fill_(float(np.linalg.norm(before - centre, axis=1).mean()))


@torch.no_grad()
def _frames(front_end: FrontEnd, recording: Path | tuple[Tensor, int]) -> Tensor:
    """The frames of a recording's middle, in half precision: a thousand songs fit into a gigabyte."""
    from hitchain.files import read_audio

    audio, rate = recording if isinstance(recording, tuple) else read_audio(recording)
    check_audio(audio.unsqueeze(0), rate)
    frames: Tensor = front_end(middle(audio, rate).unsqueeze(0), rate)[0]
    return frames.half()


def middle(audio: Tensor, sample_rate: int) -> Tensor:
    """The middle `LONGEST_SECONDS` of audio (channels, samples): what a tower hears of a whole song."""
    spare = max(0, audio.shape[-1] - round(LONGEST_SECONDS * sample_rate)) // 2
    return audio[:, spare : audio.shape[-1] - spare]


def _fit(
    tower: Tower,
    frames: list[Tensor],
    targets: Tensor,
    settings: TowerSettings,
    progress: Callable[[int, float], None],
) -> None:
    length = min(
        min(item.shape[-1] for item in frames), round(settings.crop_seconds / tower.front_end.settings.hop_seconds)
    )
    optimizer = torch.optim.AdamW(tower.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    batches = max(1, len(frames) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    for epoch in range(1, settings.epochs + 1):
        tower.train()
        total = 0.0
        for chosen in torch.randperm(len(frames)).tensor_split(batches):
            found = tower.of_frames(torch.stack([_crop(frames[place], length) for place in chosen.tolist()]))
            cosines = found @ targets.T
            own = cosines.gather(1, chosen.unsqueeze(1)).squeeze(1)
            loss = functional.cross_entropy(cosines / settings.temperature, chosen) + (1.0 - own).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(tower.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        progress(epoch, total / batches)


def _crop(frames: Tensor, length: int) -> Tensor:
    start = int(torch.randint(frames.shape[-1] - length + 1, ()))
    return frames[..., start : start + length].float()
