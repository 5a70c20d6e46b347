"""An objective term: does this audio fit a playlist?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hitchain.errors import UserError
from hitchain.rater.playlist import model as models
from hitchain.rater.playlist.embedding import Embedding
from hitchain.rater.playlist.tower import Tower


class PlaylistFit(nn.Module):
    """How well audio fits among the songs of a playlist, or after them.

    "among": the cosine, -1 to 1, of the audio's place and the playlist's centre (the mean of its songs' unit vectors
    about the centre of all songs). "before": how well the audio leads into these songs, the mean log-likelihood that
    they follow it less what their popularity alone gives: 0 is no better than any song would do.

    Like a rater it takes audio (batch, channels, samples) and its sample rate and gives (batch,); it is differentiable
    to the audio, and higher is better.

    Raises:
        UserError: the playlist is empty, or a song of it is not in the embedding.
    """

    target: Tensor
    following: Tensor
    prior: Tensor

    def __init__(self, tower: Tower, embedding: Embedding, playlist: Sequence[str], kind: str = "among") -> None:
        super().__init__()
        if kind not in ("among", "before"):
            raise UserError(f"a playlist's fit is 'among' or 'before', not {kind!r}.")
        if not playlist:
            raise UserError("the playlist to fit is empty; name one song or more.")
        self.tower = tower
        self.kind = kind
        places = [embedding.index(song) for song in playlist]
        self.places = places
        centre = torch.from_numpy(embedding.centred()[places]).mean(dim=0)
        self.register_buffer("target", centre / centre.norm().clamp_min(1e-6))
        self.register_buffer("following", torch.from_numpy(embedding.after))
        self.register_buffer("prior", embedding.exponent * torch.log(torch.from_numpy(embedding.counts) + 0.1))

    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        if self.kind == "among":
            return self.tower.direction(audio, sample_rate) @ self.target
        scores = self.tower(audio, sample_rate) @ self.following.T + self.prior
        log_likelihood = torch.log_softmax(scores, dim=-1)
        return log_likelihood[:, self.places].mean(dim=-1) - torch.log_softmax(self.prior, dim=-1)[self.places].mean()


def load(path: str | Path, playlist: Sequence[str], kind: str = "among") -> PlaylistFit:
    """The fit to a playlist, by a model file that `hitchain radio ... audio=FOLDER model=FILE` wrote.

    Raises:
        UserError: the file cannot be used, holds no tower, or knows no song of that name.
    """
    model = models.load(path)
    if model.tower is None:
        raise UserError(f"{path} holds playlists learnt without sound: learn them again with audio=FOLDER.")
    return PlaylistFit(model.tower, model.embedding, playlist, kind).eval()
