"""Raters: audio -> rating. A rater is one front end and one or more networks whose ratings are averaged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hitchain.errors import UserError, nearest
from hitchain.files import read_json
from hitchain.rater import weights
from hitchain.rater.frontend import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, FrontEnd, FrontEndSettings

SHORTEST_SECONDS = 1.0
SHIPPED_FOLDER = Path(__file__).parent
SHIPPED = ("appeal",)


class Rater(nn.Module):
    """Rates audio: the mean over one or more networks that share a front end.

    Shape:
        - audio: (batch, channels, samples), channels 1 or 2, at least one second, nominal full scale 1.0
        - output: (batch,). The level of the audio does not matter; higher is better.

    The rating is differentiable with respect to the audio. For a rater trained on popularity it is standardised (0 is
    the mean of its training songs, 1 a standard deviation above); `to_popularity` turns it into p.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        front_end: FrontEndSettings,
        names: Sequence[str],
        about: Sequence[dict[str, Any]],
    ) -> None:
        super().__init__()
        self.front_end = FrontEnd(front_end)
        self.networks = nn.ModuleList(networks)
        self.names = list(names)
        self.about = list(about)

    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        return self.each(audio, sample_rate).mean(dim=1)

    def each(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The rating of every member: (batch, members), in the order of `names`.

        Raises:
            UserError: the audio is shorter than a second or has a wrong shape, or the sample rate is out of range.
        """
        check_audio(audio, sample_rate)
        frames = self.front_end(audio, sample_rate)
        return torch.stack([network(frames) for network in self.networks], dim=1)

    @torch.no_grad()
    def rate(self, audio: Tensor, sample_rate: int, window_seconds: float = 10.0) -> Tensor:
        """Ratings of long audio without gradients: the mean over windows side by side, (batch, members).

        Memory does not grow with the length. A remainder under half a window joins the window before it.
        """
        check_audio(audio, sample_rate)
        samples = audio.shape[-1]
        edges = window_edges(samples, sample_rate, window_seconds)
        parts = [self.each(audio[..., a:b], sample_rate) * (b - a) for a, b in itertools.pairwise(edges)]
        return torch.stack(parts).sum(0) / samples

    def to_popularity(self, rating: Tensor) -> Tensor:
        """Popularity p from a standardised rating, never under 0.

        Raises:
            UserError: this rater was not trained on popularity.
        """
        if any("target_mean" not in about for about in self.about):
            raise UserError(
                f"rater {', '.join(self.names)} was not trained on plays and likes: it has no popularity scale."
            )
        mean = sum(float(about["target_mean"]) for about in self.about) / len(self.about)
        deviation = sum(float(about["target_deviation"]) for about in self.about) / len(self.about)
        return (mean + deviation * rating).clamp_min(0.0)


def window_edges(samples: int, sample_rate: int, window_seconds: float) -> list[int]:
    """Where the windows of long audio begin and end, in samples. A remainder under half a window joins the last."""
    window = max(round(window_seconds * sample_rate), round(2 * SHORTEST_SECONDS * sample_rate))
    count = max(1, round(samples / window))
    return [*range(0, count * window, window), samples]


def load(name: str | Path) -> Rater:
    """A rater ready to use, in evaluation mode and with frozen weights.

    Args:
        name: "appeal" (the mean of the members that are climbed), one of its members ("appeal/0", "appeal/1", ...,
            "appeal/heldout", the one that is never climbed), a weights file written by `hitchain train`, or the
            folder of such a run.

    Raises:
        UserError: nothing has that name, or the file is not a rater's.
    """
    text = str(name)
    head = text.partition("/")[0]
    path = Path(name)
    if head in SHIPPED and not path.is_file():
        return _shipped(text)
    if path.is_dir():
        path = path / "rater.safetensors"
    if not path.is_file():
        known = [*SHIPPED, *(f"{shipped}/{member}" for shipped in SHIPPED for member in _listing(shipped))]
        hint = nearest(text, known)
        raise UserError(f"no rater {text!r}: it is neither a weights file nor a shipped rater; {hint}")
    return _from_files([path], [path.stem])


def members(name: str = "appeal") -> list[Rater]:
    """The members of a shipped rater that are climbed, each a rater of its own. The held-out one is not among them."""
    if name not in SHIPPED:
        raise UserError(f"no shipped rater {name!r}; {nearest(name, SHIPPED)}")
    return [load(f"{name}/{index}") for index, member in enumerate(_listing(name)) if member != "heldout"]


def _listing(shipped: str) -> dict[str, str]:
    """Member name -> weights file of a shipped rater, the climbed ones first."""
    listing = read_json(SHIPPED_FOLDER / shipped / "members.json", "list of rater members")
    return {str(member): str(file) for member, file in listing.items()}


def _shipped(text: str) -> Rater:
    head, _, member = text.partition("/")
    listing = _listing(head)
    if member and member not in listing:
        raise UserError(f"rater {head!r} has no member {member!r}; {nearest(member, listing)}")
    chosen = [member] if member else [name for name in listing if name != "heldout"]
    return _from_files(
        [SHIPPED_FOLDER / head / listing[name] for name in chosen], [f"{head}/{name}" for name in chosen]
    )


def _from_files(paths: Sequence[Path], names: Sequence[str]) -> Rater:
    loaded = [weights.load(path) for path in paths]
    front_ends = {front_end for _, front_end, _ in loaded}
    if len(front_ends) != 1:
        raise UserError(f"raters {', '.join(names)} have different front ends and cannot be averaged.")
    rater = Rater([network for network, _, _ in loaded], front_ends.pop(), names, [about for _, _, about in loaded])
    return rater.eval().requires_grad_(False)


def check_audio(audio: Tensor, sample_rate: int) -> None:
    """Raise `UserError` unless this is floating-point audio (batch, 1 or 2, samples) of a second or more."""
    if not isinstance(sample_rate, int) or not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
        raise UserError(f"a rater hears {LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz, not {sample_rate!r}.")
    if audio.ndim != 3 or audio.shape[1] not in (1, 2) or not audio.is_floating_point():
        raise UserError(
            f"a rater takes floating-point audio (batch, channels, samples) with 1 or 2 channels, "
            f"not {audio.dtype} {tuple(audio.shape)}."
        )
    seconds = audio.shape[-1] / sample_rate
    if seconds < SHORTEST_SECONDS:
        raise UserError(f"audio of {seconds:.2f} s is too short to rate; a rater needs {SHORTEST_SECONDS:g} s or more.")
