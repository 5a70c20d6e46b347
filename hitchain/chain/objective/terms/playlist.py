"""How well a song fits a playlist."""

from __future__ import annotations

from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.errors import UserError
from hitchain.rater.playlist import fit


@term("playlist")
class Playlist(Term):
    """Fit to a playlist: see `hitchain.rater.playlist.fit.PlaylistFit`.

    Args:
        model: a file that `hitchain radio ... audio=FOLDER model=FILE` wrote.
        songs: of the playlist, by their names in the model.
        kind: "among": cosine with the playlist's centre, -1 to 1. "before": log-likelihood that these songs follow,
            less what their popularity alone gives [nats].
    """

    scale = 0.05

    def __init__(self, model: str, songs: list[str], kind: str = "among") -> None:
        if not isinstance(songs, list):
            raise UserError(f"playlist.songs={songs!r} should be a list of names, like [one, another].")
        self.fit = fit.load(str(model), [str(song) for song in songs], str(kind)).requires_grad_(False)

    def measure(self, heard: Heard) -> Tensor:
        fitted: Tensor = self.fit.to(heard.audio.device)(heard.audio, heard.sample_rate)
        return fitted
