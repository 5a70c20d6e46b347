"""Training raters: `hitchain train` and `hitchain ablate`.

    from hitchain.rater.shards import Prepared
    from hitchain.rater.training import TrainSettings, train
    result = train(Prepared("prepared"), "runs/rater", TrainSettings(epochs=100))

settings.py and labels.py say what is learnt; crops.py, augment.py and frames.py what is heard; learner.py, losses.py
and average.py how; loop.py, validation.py, checkpoint.py and history.py run it; distributed.py lets several processes
do so together; run.py, ensemble.py, mfcc.py and ablate.py are what is asked for. Importing this package imports neither
PyTorch nor NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hitchain.rater.training.run import train
    from hitchain.rater.training.settings import TrainSettings

__all__ = ["TrainSettings", "train"]

_HOMES = {"TrainSettings": "settings", "train": "run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
