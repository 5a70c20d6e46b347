"""Terms of likeness: how near to one recording, and how far from many."""

from __future__ import annotations

import torch
from torch import Tensor

from hitchain.chain.objective.term import Heard, Term, term
from hitchain.chain.objective.terms.embedding import distances, embed, embed_file, recordings
from hitchain.errors import UserError

LEVEL = 0.1
"""Root mean square to which both are brought before their spectra are compared."""
SILENT = 1e-5


@term("reference")
class Reference(Term):
    """Distance to a recording: less is nearer, so its weight is negative.

        stft x MRSTFT(audio, same stretch of the recording) + embedding x distance of the embeddings [dB]

    MRSTFT is auraloss's multi-resolution STFT loss (Steinmetz and Reiss 2020), both at one level; it counts only where
    the recording goes on as long as the window and sounds there: for two versions of one song. The embeddings' distance
    (see `hitchain.chain.objective.terms.embedding`) is to the recording's nearest stretch, wherever that is.

    Args:
        file: the recording.
        stft, embedding: weights of the two parts, 0 or more.
    """

    scale = 0.1

    def __init__(self, file: str, stft: float = 1.0, embedding: float = 0.1) -> None:
        if min(stft, embedding) < 0 or stft + embedding <= 0:
            raise UserError("a reference's stft and embedding are weights of 0 or more, one of them over 0.")
        self.file, self.stft, self.embedding = str(file), float(stft), float(embedding)
        self.places = embed_file(self.file)
        self._audio: dict[int, Tensor] = {}

    def measure(self, heard: Heard) -> Tensor:
        total = heard.audio.new_zeros(heard.audio.shape[0])
        if self.embedding:
            apart = distances(embed(heard.audio, heard.sample_rate), self.places).amin(dim=1)
            total = total + self.embedding * apart
        stretch = self._stretch(heard) if self.stft else None
        if stretch is not None:
            total = total + self.stft * _spectral_distance(heard.audio, stretch.to(heard.audio))
        return total

    def _stretch(self, heard: Heard) -> Tensor | None:
        """The recording in the window that is heard, (2, samples); None where it ended before, or is silent."""
        if heard.sample_rate not in self._audio:
            from hitchain.files import read_audio

            audio, _ = read_audio(self.file, heard.sample_rate)
            self._audio[heard.sample_rate] = audio[:2].expand(2, -1)
        first = 0 if heard.window is None else round(heard.window.start * heard.sample_rate)
        stretch = self._audio[heard.sample_rate][:, first : first + heard.audio.shape[-1]]
        sounds = stretch.shape[-1] == heard.audio.shape[-1] and float(stretch.square().mean()) > SILENT**2
        return stretch if sounds else None


def _spectral_distance(audio: Tensor, other: Tensor) -> Tensor:
    """MRSTFT of each candidate (batch, 2, samples) from a recording (2, samples): (batch,)."""
    from auraloss.freq import MultiResolutionSTFTLoss

    loss = MultiResolutionSTFTLoss()
    for part in loss.stft_losses:
        part.window = part.window.to(audio)
    target = _levelled(other[None])
    return torch.stack([loss(_levelled(item[None]), target) for item in audio])


def _levelled(audio: Tensor) -> Tensor:
    return audio * (LEVEL / (audio.square().mean() + SILENT**2).sqrt())


@term("originality")
class Originality(Term):
    """Distance from the nearest stretch of the nearest of a set of recordings [dB]: more is further from all of them.

    Between the embeddings of `hitchain.chain.objective.terms.embedding`: timbre and balance, not melody.

    Args:
        folder: of the recordings.
    """

    unit = "dB"
    scale = 0.5

    def __init__(self, folder: str) -> None:
        self.places = torch.cat([embed_file(path) for path in recordings(folder)])

    def measure(self, heard: Heard) -> Tensor:
        return distances(embed(heard.audio, heard.sample_rate), self.places).amin(dim=1)
