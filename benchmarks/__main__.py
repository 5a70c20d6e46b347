"""python -m benchmarks [ROW ...] [--write docs/benchmarks.md] [--repeats N]

Every row runs in a process of its own, ours and the peers in turn on the same input. Times are printed, never asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks import page
from benchmarks.harness import THREADS, Line, Report
from benchmarks.rows import ROWS, load

REPEATS = 7


def main() -> None:
    """Measure the rows asked for, print their table and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all where none is named")
    parser.add_argument("--write", type=Path, help="the page to write, for example docs/benchmarks.md")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="rounds, of which the median is taken")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [row for row in given.rows if row not in ROWS]
    if unknown or given.repeats < 1:
        parser.error(f"no row {', '.join(unknown)}; choose from {', '.join(ROWS)}" if unknown else "--repeats is 1 up")
    if given.worker:
        print(json.dumps(asdict(measure(given.rows[0], given.repeats))))
        return
    began = time.monotonic()
    reports = [in_a_process(row, given.repeats) for row in given.rows or ROWS]
    text = page.page(reports, time.monotonic() - began)
    print(text)
    if given.write:
        given.write.write_text(text, encoding="utf-8")


def measure(row: str, repeats: int, seconds: float | None = None) -> Report:
    """One row, in this process. `seconds` of audio instead of the row's own length."""
    import torch

    torch.set_num_threads(THREADS)
    return load(row)(repeats, ROWS[row][2] if seconds is None else seconds)


def in_a_process(row: str, repeats: int) -> Report:
    """One row in a process of its own, so that no row's memory and threads are another's."""
    print(f"{row} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks", row, "--worker", "--repeats", str(repeats)]
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
    done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return Report(row, "failed", [Line("-", "see the error printed above")], "-", "-")
    read = json.loads(done.stdout.strip().splitlines()[-1])
    report = Report(**{**read, "lines": [Line(**line) for line in read["lines"]]})
    print(page.table([report]), file=sys.stderr, flush=True)
    return report


if __name__ == "__main__":
    main()
