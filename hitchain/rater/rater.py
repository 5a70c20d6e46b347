"""Raters: audio -> rating. A rater averages one or more members: networks that share a front end."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hitchain.errors import UserError, nearest
from hitchain.files import read_json
from hitchain.rater import ensemble, weights
from hitchain.rater.frontend import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE, FrontEnd, FrontEndSettings
from hitchain.rater.uncertainty import Calibration

SHORTEST_SECONDS = 1.0
SHIPPED_FOLDER = Path(__file__).parent
SHIPPED = ("appeal",)
JUDGES = ("heldout", "trees")


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
        about: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.front_end = FrontEnd(front_end)
        self.networks = nn.ModuleList(networks)
        self.names = list(names)
        self.about = [dict(part) for part in about]
        self.calibration: Calibration | None = None
        self.scales: Tensor
        self.register_buffer("scales", torch.tensor([[1.0, 0.0]] * len(self.names)), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the audio must be."""
        return self.scales.device

    def forward(self, audio: Tensor, sample_rate: int) -> Tensor:
        return self.each(audio, sample_rate).mean(dim=1)

    def each(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The rating of every member: (batch, members), in the order of `names`.

        Raises:
            UserError: the audio is shorter than a second or has a wrong shape, or the sample rate is out of range.
        """
        check_audio(audio, sample_rate)
        return self._members(audio, sample_rate) * self.scales[:, 0] + self.scales[:, 1]

    def _members(self, audio: Tensor, sample_rate: int) -> Tensor:
        """The members' own ratings, (batch, members)."""
        frames = self.front_end(audio, sample_rate)
        return torch.stack([network(frames) for network in self.networks], dim=1)

    def tasks(self, audio: Tensor, sample_rate: int) -> dict[str, dict[str, Tensor]]:
        """What the label heads say: {label column: {class name: probability (batch,)}}, differentiable.

        Each is the mean over the members that have that head with those classes. {} for a rater without heads.
        """
        check_audio(audio, sample_rate)
        frames = self.front_end(audio, sample_rate)
        votes: dict[tuple[str, tuple[str, ...]], list[Tensor]] = {}
        for network in self.networks:
            heads: Mapping[str, tuple[str, ...]] = getattr(network, "heads", {})
            outputs: dict[str, Tensor] = network.tasks(frames) if heads else {}  # type: ignore[operator]
            for name, classes in heads.items():
                votes.setdefault((name, classes), []).append(torch.softmax(outputs[name], dim=-1))
        return {
            name: dict(zip(classes, torch.stack(given).mean(0).unbind(-1), strict=True))
            for (name, classes), given in votes.items()
        }

    def interval(
        self, audio: Tensor, sample_rate: int, level: float = 0.9, window_seconds: float = 10.0
    ) -> tuple[Tensor, Tensor]:
        """The ends (batch,) of an interval that holds the true rating of a share `level` of recordings; no gradients.

        Around the mean that `rate` gives; see `hitchain.rater.uncertainty` for what it promises.

        Raises:
            UserError: this rater was not calibrated on validation recordings.
        """
        return self.interval_of(self.rate(audio, sample_rate, window_seconds), level)

    def interval_of(self, ratings: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
        """The interval around members' ratings (batch, members) as `each` or `rate` gives them."""
        if self.calibration is None:
            raise UserError(
                f"rater {', '.join(self.names)} was not calibrated: it gives no interval. "
                "An ensemble of `hitchain train rater.members=3` does."
            )
        spread = ratings.std(dim=1) if ratings.shape[1] > 1 else torch.zeros_like(ratings[:, 0])
        return self.calibration.interval(ratings.mean(dim=1), spread, level)

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
            "appeal/heldout", a network that is never climbed, "appeal/trees", a judge that is no network), a weights
            file written by `hitchain train`, or the folder of such a run, also of an ensemble.

    Raises:
        UserError: nothing has that name, or the file is not a rater's.
    """
    text = str(name)
    head = text.partition("/")[0]
    path = Path(name)
    if head in SHIPPED and not path.is_file():
        return _shipped(text)
    if path.is_dir() and (path / ensemble.FILE).is_file():
        return _from_folder(path)
    if path.is_dir():
        path = path / "rater.safetensors"
    if not path.is_file():
        known = [*SHIPPED, *(f"{shipped}/{member}" for shipped in SHIPPED for member in _listing(shipped))]
        hint = nearest(text, known)
        raise UserError(f"no rater {text!r}: it is neither a weights file nor a shipped rater; {hint}")
    return _from_files([path], [path.stem])


def members(name: str = "appeal") -> list[Rater]:
    """The members of a shipped rater that are climbed, each a rater of its own; its judges are not among them."""
    if name not in SHIPPED:
        raise UserError(f"no shipped rater {name!r}; {nearest(name, SHIPPED)}")
    return [load(f"{name}/{member}") for member in _climbed(name)]


def judges(name: str = "appeal") -> list[str]:
    """Names of the parts of a shipped rater that are never climbed, like "appeal/heldout"."""
    return [f"{name}/{judge}" for judge in JUDGES if judge in _listing(name)]


def _listing(shipped: str) -> dict[str, str]:
    """Member name -> weights file of a shipped rater, the climbed ones first."""
    listing = read_json(SHIPPED_FOLDER / shipped / "members.json", "list of rater members")
    return {str(member): str(file) for member, file in listing.items()}


def _climbed(shipped: str) -> list[str]:
    listing = _listing(shipped)
    judging = {listing[judge] for judge in JUDGES if judge in listing}
    return [member for member, file in listing.items() if file not in judging]


def _shipped(text: str) -> Rater:
    head, _, member = text.partition("/")
    listing = _listing(head)
    if member and member not in listing:
        raise UserError(f"rater {head!r} has no member {member!r}; {nearest(member, listing)}")
    chosen = [member] if member else _climbed(head)
    return _from_files(
        [SHIPPED_FOLDER / head / listing[name] for name in chosen], [f"{head}/{name}" for name in chosen]
    )


def _from_folder(folder: Path) -> Rater:
    listing = ensemble.load(folder)
    rater = _from_files([folder / member for member in listing.members], [_stem(name) for name in listing.members])
    rater.scales.copy_(torch.tensor(listing.scales))
    rater.calibration = listing.calibration
    if listing.about:
        rater.about = [{**about, **listing.about} for about in rater.about]
    return rater


def _stem(member: str) -> str:
    """A member's name from its file: of "member-0/rater.safetensors", "member-0"."""
    place = Path(member)
    return place.parent.name if place.stem == "rater" and place.parent.name else place.stem


def _from_files(paths: Sequence[Path], names: Sequence[str]) -> Rater:
    from hitchain.rater import mfcc

    kinds = {weights.format_of(path) in mfcc.FORMATS for path in paths}
    if kinds == {True}:
        return mfcc.load(paths, names)
    if len(kinds) > 1:
        raise UserError(f"raters {', '.join(names)}: networks cannot be averaged with raters on features.")
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
