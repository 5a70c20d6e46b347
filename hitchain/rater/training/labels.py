"""What a training aims at: the standardised target of every recording, and the classes of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hitchain.errors import UserError, nearest
from hitchain.rater.row import Row
from hitchain.rater.targets import targets
from hitchain.rater.training.settings import LABEL_TARGET

MOST_CLASSES = 1000


@dataclass(frozen=True)
class Labels:
    """Targets and labels of recordings.

    Attributes:
        targets: (recordings,) (value - mean) / deviation; NaN where the source does not say.
        mean, deviation: of the training recordings' values.
        classes: head -> its class names, sorted.
        numbers: head -> (recordings,) the number of the class; -1 where the label is missing or not in training.
    """

    targets: NDArray[np.float64]
    mean: float
    deviation: float
    classes: Mapping[str, list[str]]
    numbers: Mapping[str, NDArray[np.int64]]


def labels_of(rows: Sequence[Row], training: NDArray[np.bool_], target: str, heads: Sequence[str]) -> Labels:
    """The labels of recordings, standardised over the training ones.

    Args:
        training: (recordings,) which of them train: mean, deviation and class names follow from those alone.

    Raises:
        UserError: no label column has that name, it has one class only, or it is text where numbers are needed; too few
            targets are known, or all are the same.
    """
    values = _values(rows, training, target)
    known = values[training & np.isfinite(values)]
    if len(known) < 2:
        raise UserError(f"only {len(known)} training recordings have a {target}: there is nothing to learn from.")
    mean, deviation = float(known.mean()), float(known.std())
    if deviation < 1e-12:
        raise UserError(f"all usable training songs have the same {target}: nothing can be learnt.")
    classes = {head: _classes(rows, training, head) for head in heads}
    numbers = {}
    for head, names in classes.items():
        place = {name: number for number, name in enumerate(names)}
        numbers[head] = np.array([place.get(row.labels.get(head, ""), -1) for row in rows], dtype=np.int64)
    return Labels((values - mean) / deviation, mean, deviation, classes, numbers)


def _values(rows: Sequence[Row], training: NDArray[np.bool_], target: str) -> NDArray[np.float64]:
    if target.startswith(LABEL_TARGET):
        return _numbers(rows, target.removeprefix(LABEL_TARGET))
    return targets(rows, target, reference=[bool(trains) for trains in training])


def _numbers(rows: Sequence[Row], column: str) -> NDArray[np.float64]:
    """A label column as numbers; NaN where a row has none."""
    _check_column(rows, column)
    values = np.full(len(rows), np.nan)
    for number, row in enumerate(rows):
        text = row.labels.get(column, "").strip()
        if not text:
            continue
        try:
            values[number] = float(text)
        except ValueError:
            values[number] = np.inf
        if not np.isfinite(values[number]):
            where = f"line {row.line} ({row.name or row.path})"
            raise UserError(
                f"target=label:{column} needs numbers, and {where} has {text!r}. To learn a column of words, "
                f"give it as a head: rater.heads=[{column}]."
            )
    return values


def _classes(rows: Sequence[Row], training: NDArray[np.bool_], head: str) -> list[str]:
    _check_column(rows, head)
    names = sorted(
        {row.labels[head] for row, trains in zip(rows, training, strict=True) if trains and head in row.labels}
    )
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "no value"
        raise UserError(f"head {head!r} has {found} in the training recordings; two classes or more are needed.")
    if len(names) > MOST_CLASSES:
        raise UserError(
            f"head {head!r} has {len(names)} different values in the training recordings; at most {MOST_CLASSES} can "
            f"be classes. A column of numbers can be learnt as target=label:{head}."
        )
    return names


def _check_column(rows: Sequence[Row], column: str) -> None:
    columns = {name for row in rows for name in row.labels}
    if column not in columns:
        raise UserError(f"no recording has a label {column!r}; {nearest(column, columns)}")
