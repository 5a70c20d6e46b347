"""Print what several climbs gained: python tools/gains.py RUN_FOLDER ...

Make the runs first: hitchain optimize --multirun seed=0,1,2,3,4 out=runs/seeds
Then print them:     python tools/gains.py runs/seeds/?
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path


def main(folders: list[str]) -> int:
    """A row for each run, then the mean gain and its standard deviation over runs."""
    results = [Path(folder) / "result.json" for folder in folders]
    runs = [json.loads(result.read_text()) for result in results if result.is_file()]  # the finished ones
    if not runs:
        print(__doc__, file=sys.stderr)
        return 2
    print("| seed | steps | rating | held out |\n|---|---|---|---|")
    for run in runs:
        pairs = (f"{run[f'{name}_before']:.3f} to {run[f'{name}_after']:.3f}" for name in ("rating", "heldout"))
        print(f"| {run['seed']} | {run['steps']} | {' | '.join(pairs)} |")
    for name, title in (("rating", "climbed"), ("heldout", "held out")):
        gains = [run[f"{name}_after"] - run[f"{name}_before"] for run in runs]
        spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
        rose = sum(gain > 0 for gain in gains)
        print(
            f"{title}: {statistics.mean(gains):+.3f} (standard deviation {spread:.3f}), rose in {rose} of {len(gains)}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
