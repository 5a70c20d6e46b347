"""Song embeddings from playlists read as sentences: skip-gram with negative sampling, by gensim's word2vec.

A song has two vectors: `before` where it is the song just heard, `after` where it is the one that follows. Skip-gram's
inner product of the two estimates log(P(next | song) / (negative * P_noise(next))), P_noise going with the song's
count to the power `exponent` (Levy and Goldberg 2014), so P(next | song) is a softmax of before . after + exponent *
log count. Defaults are tuned on setlists, not on text (Caselles-Dupre, Lesaint and Royo-Letelier, RecSys 2018).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError, nearest
from hitchain.rater.playlist.playlists import Playlist

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """How an embedding is learnt.

    Attributes:
        dimensions: of a vector.
        window: how many songs count as near.
        ahead: whether only the songs that follow are near, or those on both sides.
        negative: noise songs against each true one.
        exponent: noise songs are drawn by their count to this power.
        epochs: passes over the playlists.
        seed: of everything random.
    """

    dimensions: int = 32
    window: int = 3
    ahead: bool = True
    negative: int = 10
    exponent: float = 0.75
    epochs: int = 20
    seed: int = 0


@dataclass(frozen=True)
class Embedding:
    """Songs as vectors. Shapes: `before` and `after` (songs, dimensions), `counts` (songs,): times followed to."""

    songs: tuple[str, ...]
    before: Vectors
    after: Vectors
    counts: NDArray[np.float32]
    exponent: float

    def index(self, song: str) -> int:
        """Where a song stands; upper and lower case do not matter. Raises `UserError` with the nearest name."""
        if song in self.songs:
            return self.songs.index(song)
        folded = [name.casefold() for name in self.songs]
        if folded.count(song.casefold()) == 1:
            return folded.index(song.casefold())
        hint = nearest(song.casefold(), folded)
        close = next((name for name in self.songs if f"'{name.casefold()}'" in hint), None)
        told = f"did you mean '{close}'?" if close and "did you" in hint else f"they hold {len(self.songs)} others."
        raise UserError(f"no song '{song}' in the playlists; {told}")

    def log_likelihood(self, heard: Vectors) -> NDArray[np.float32]:
        """log P(next) of every song, (songs,), after songs of the vectors `heard` (count, dimensions)."""
        score = self.after @ heard.mean(axis=0) + self.exponent * np.log(self.counts + 0.1)
        score -= score.max()
        return np.asarray(score - np.log(np.exp(score).sum()), dtype=np.float32)

    def next(self, heard: Sequence[str], count: int = 10, context: int = 3) -> list[tuple[str, float]]:
        """What goes well after the last `context` of these songs: (song, probability), best first, none repeated."""
        places = [self.index(song) for song in heard]
        return self.best(self.log_likelihood(self.before[places[-context:]]), count, places)

    def best(self, scores: NDArray[np.float32], count: int, without: Sequence[int] = ()) -> list[tuple[str, float]]:
        """The songs of the highest log-likelihoods, and their probabilities."""
        order = [place for place in np.argsort(-scores, kind="stable") if place not in set(without)]
        return [(self.songs[place], float(np.exp(scores[place]))) for place in order[:count]]

    def centred(self) -> Vectors:
        """Unit vectors of `before` about their mean: what "alike" is measured by. Shape (songs, dimensions)."""
        moved = self.before - self.before.mean(axis=0)
        return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9), dtype=np.float32)

    def nearest(self, song: str, count: int = 10) -> list[tuple[str, float]]:
        """Songs that are followed by the same as this one: (song, cosine), the nearest first."""
        place, units = self.index(song), self.centred()
        cosines = units @ units[place]
        order = [other for other in np.argsort(-cosines, kind="stable") if other != place]
        return [(self.songs[other], float(cosines[other])) for other in order[:count]]


def learn(playlists: Sequence[Playlist], settings: Settings | None = None) -> Embedding:
    """The embedding of playlists; the same playlists and settings give the same vectors.

    Raises:
        UserError: gensim is not installed, or no playlist has two songs.
    """
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise UserError('playlists need gensim: pip install "hitchain[playlists]".') from error
    settings = settings or Settings()
    used = [playlist.songs for playlist in playlists if len(playlist.songs) > 1]
    if not used:
        raise UserError("no playlist holds two songs or more: nothing follows anything.")
    model = Word2Vec(
        _ahead(used, settings.window) if settings.ahead else used,
        vector_size=settings.dimensions,
        window=1 if settings.ahead else settings.window,
        negative=settings.negative,
        ns_exponent=settings.exponent,
        epochs=settings.epochs,
        seed=settings.seed,
        sg=1,
        sample=0,  # no song is a stop word
        min_count=1,
        workers=1,  # with the two below, what makes it repeatable
        hashfxn=_hash,
    )
    songs = tuple(sorted({song for playlist in used for song in playlist}))
    before, after = ("<", ">") if settings.ahead else ("", "")
    known = model.wv.key_to_index
    counts = [model.wv.get_vecattr(after + song, "count") if after + song in known else 0 for song in songs]
    return Embedding(
        songs,
        _gathered(model.wv.vectors, known, [before + song for song in songs]),
        _gathered(model.syn1neg, known, [after + song for song in songs]),
        np.asarray(counts, dtype=np.float32),
        settings.exponent,
    )


def _ahead(playlists: Sequence[tuple[str, ...]], window: int) -> list[tuple[str, str]]:
    """Every song with each that follows within the window, as sentences of two words.

    Skip-gram looks both ways; the marks keep a song heard and the same song following apart, so it learns direction.
    """
    return [
        ("<" + song, ">" + later)
        for songs in playlists
        for place, song in enumerate(songs)
        for later in songs[place + 1 : place + 1 + window]
    ]


def _hash(word: str) -> int:
    """Python's own hash of a word differs from process to process."""
    return zlib.crc32(word.encode())


def _gathered(vectors: Vectors, known: dict[str, int], words: Sequence[str]) -> Vectors:
    """The vectors of words; zeros for one that never stood in that role (the last song of every playlist)."""
    out = np.zeros((len(words), vectors.shape[1]), dtype=np.float32)
    for place, word in enumerate(words):
        if word in known:
            out[place] = vectors[known[word]]
    return out
