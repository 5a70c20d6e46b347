"""The history of a training: a line per epoch as JSON and CSV, and TensorBoard's events where asked for."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hitchain.errors import UserError
from hitchain.files import write_text

Line = dict[str, Any]


def write(folder: Path, lines: Sequence[Line]) -> None:
    """history.jsonl and history.csv, whole: lines that a killed run wrote after its checkpoint are computed again."""
    write_text(folder / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(lines[-1]) if lines else ["epoch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(folder / "history.csv", table.getvalue())


class TensorBoard:
    """Writes the numbers of each epoch to FOLDER/tensorboard.

    Args:
        epoch: how many epochs are done; events of later ones, of a killed run, are taken back.

    Raises:
        UserError: the extra `tensorboard` is not installed.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                "rater.tensorboard=true needs the extra 'tensorboard': pip install 'hitchain[tensorboard]'."
            ) from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch + 1)

    def write(self, line: Line) -> None:
        for name, value in line.items():
            if name != "epoch" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, line["epoch"])
        self._writer.flush()
