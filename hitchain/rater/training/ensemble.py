"""An ensemble: how sure it is of a rating, by how far its members differ, set right on validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitchain.rater.training.run import Task, Trained
    from hitchain.rater.training.settings import TrainSettings


def calibrated(task: Task, folder: Path, trained: Sequence[Trained], settings: TrainSettings) -> dict[str, Any]:
    """What result.json says of the interval of an ensemble."""
    return {"member_validation_loss": [one.best["validation_loss"] for one in trained]}
