"""The patch prior: how usual the knobs stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from hitchain.blocks.block import Block
from hitchain.blocks.parameter import Choice
from hitchain.chain.knobs import EDGE, Knob, Knobs
from hitchain.chain.objective.term import Heard, Term, term
from hitchain.chain.patch import FORMAT, from_data
from hitchain.errors import UserError
from hitchain.files import read_json

STRENGTH = 4.0
"""The block's default, with a spread of `BROAD`, counts as so many observed settings."""
BROAD = 0.25
"""Standard deviation of a knob position of which nothing is known, as a share of its range."""

Settings = dict[str, Tensor]


@dataclass(frozen=True)
class Fitted:
    """A Gaussian over some columns of the knob positions: where it lies, and what makes its covariance the identity
    (one number for all columns where they are independent and alike)."""

    columns: Tensor
    mean: Tensor
    whiten: Tensor

    def squared_distance(self, positions: Tensor) -> Tensor:
        """Squared Mahalanobis distance of (batch, size): (batch,)."""
        apart = positions[:, self.columns.to(positions.device)] - self.mean.to(positions)
        whiten = self.whiten.to(positions)
        return (apart * whiten if whiten.numel() == 1 else apart @ whiten.T).square().sum(dim=-1)


@term("prior")
class Prior(Term):
    """Minus the mean squared Mahalanobis distance of the knobs from usual settings: 0 at their means, -1 where
    every knob stands a standard deviation away.

    For each block a Gaussian over its knob positions u, fitted to n settings: the block's presets, the song's own
    starting patch, and every entry of that block in known good patches. With d the default's position, k = 4 and
    v = 0.25^2, it is the posterior mean of a normal-inverse-Wishart prior (Murphy 2007, section 9):

        m = (k d + sum u_i) / (k + n)
        S = (k v I + k (d - m)(d - m)' + sum (u_i - m)(u_i - m)') / (k + n)

    so a block with few presets keeps near its default, with a broad variance; one with many takes theirs. A choice
    counts by its weights. Knobs that have a value for every note share one mean and variance.

    Args:
        patches: files of patches known to be good: patch.json of run folders. A path that is not in this song counts
            where its block is.
    """

    audible = False
    scale = 0.25

    def __init__(self, patches: Sequence[str] = ()) -> None:
        if isinstance(patches, str) or not all(isinstance(path, str) for path in patches):
            raise UserError(f"prior.patches={patches!r} should be a list of patch files, like [run/patch.json].")
        self.known = [entry for path in patches for entry in _entries(path)]
        self._fitted: tuple[Knobs, list[Fitted]] | None = None

    def measure(self, heard: Heard) -> Tensor:
        if heard.knobs is None:
            raise ValueError("the prior needs the knobs whose positions are heard")
        if self._fitted is None or self._fitted[0] is not heard.knobs:
            self._fitted = (heard.knobs, list(self._fit(heard.knobs)))
        parts = [part.squared_distance(heard.positions) for part in self._fitted[1]]
        none = heard.positions.new_zeros(len(heard.positions))
        return -torch.stack([none, *parts]).sum(dim=0) / max(1, heard.knobs.size)

    def _fit(self, knobs: Knobs) -> Iterator[Fitted]:
        blocks = knobs.song.blocks()
        for path, group in groupby(knobs.knobs, key=lambda knob: knob.path):
            observed = [*self._observed(blocks[path]), {k: v[0] for k, v in knobs.song.start.settings[path].items()}]
            own = [knob for knob in group if not _chosen_per_note(knob)]  # nothing is known of other songs' notes
            yield from _together([knob for knob in own if not _per_note(knob)], observed)
            for knob in own:
                if _per_note(knob):
                    yield _each_note(knob, observed)

    def _observed(self, block: Block) -> list[Settings]:
        """The settings known of a block. What it has no knob for is left out: its options may give it fewer."""
        known: list[tuple[Mapping[str, object], str]] = [
            (values, f"preset {name}") for name, values in block.presets.items()
        ]
        known += [(values, where) for name, values, where in self.known if name == block.name]
        own = {parameter.name for parameter in block.parameters}
        return [from_data(block, {k: v for k, v in values.items() if k in own}, where) for values, where in known]


def _entries(path: str) -> Iterator[tuple[str, dict[str, object], str]]:
    """(block, settings, where it stands) of a patch file."""
    data = read_json(path, "patch")
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("blocks"), dict):
        raise UserError(f"{path} is not a hitchain patch (its 'format' should be '{FORMAT}').")
    for where, entry in data["blocks"].items():
        if not isinstance(entry, dict) or not isinstance(entry.get("settings"), dict):
            raise UserError(f"patch {path}: '{where}' needs a 'block' and its 'settings'.")
        yield str(entry.get("block")), entry["settings"], f"patch {path}: {where}"


def _chosen_per_note(knob: Knob) -> bool:
    return isinstance(knob.parameter, Choice) and knob.parameter.per_note


def _per_note(knob: Knob) -> bool:
    return not isinstance(knob.parameter, Choice) and knob.parameter.per_note


def _position(knob: Knob, settings: Settings) -> Tensor:
    """Where a setting has the knob: (options,) for a choice, else (1,). Values per note count by their mean."""
    parameter = knob.parameter
    if isinstance(parameter, Choice):
        value = settings.get(parameter.name)
        return (parameter.weights(parameter.default) if value is None else value).double().reshape(-1)
    value = settings.get(parameter.name, torch.tensor(parameter.default))
    return parameter.to_unit(value.double()).clamp(EDGE, 1.0 - EDGE).mean().reshape(1)


def _gaussian(knobs: Sequence[Knob], observed: Sequence[Settings]) -> tuple[Tensor, Tensor]:
    """Mean (columns,) and covariance (columns, columns) of the positions of knobs of one block."""

    def place(settings: Settings) -> Tensor:
        return torch.cat([_position(knob, settings) for knob in knobs]).cpu()

    default = place({})
    seen = torch.stack([place(settings) for settings in observed])
    mean = (STRENGTH * default + seen.sum(dim=0)) / (STRENGTH + len(seen))
    spread = STRENGTH * BROAD**2 * torch.eye(len(mean), dtype=torch.float64)
    spread = spread + STRENGTH * torch.outer(default - mean, default - mean) + (seen - mean).T @ (seen - mean)
    return mean, spread / (STRENGTH + len(seen))


def _together(knobs: Sequence[Knob], observed: Sequence[Settings]) -> Iterator[Fitted]:
    if not knobs:
        return
    mean, covariance = _gaussian(knobs, observed)
    columns = torch.cat([torch.arange(knob.first, knob.first + knob.size) for knob in knobs])
    yield Fitted(columns, mean, torch.linalg.inv(torch.linalg.cholesky(covariance)))


def _each_note(knob: Knob, observed: Sequence[Settings]) -> Fitted:
    mean, covariance = _gaussian([knob], observed)
    columns = torch.arange(knob.first, knob.first + knob.size)
    return Fitted(columns, mean.expand(knob.size), covariance.rsqrt())
