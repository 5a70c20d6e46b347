"""The page: reports as a Markdown table, with the machine named."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

from benchmarks.harness import THREADS, Report

PEERS = ("dasp-pytorch", "grafx", "flamo", "torchsynth", "torchcomp", "torchlpc", "pedalboard")

HEAD = """# Benchmarks

Printed by `make bench` (`python -m benchmarks --write docs/benchmarks.md`); do not edit. Ours and the peers' packages
ran in turn in one process for each row, on the same input: medians of interleaved repeats, each after a pass of its own
that is not timed. {threads} threads, 44.1 kHz, float32; forward and backward with gradients to every parameter and to
the input unless the row says otherwise. "x" is seconds of sound, all batch items added up, for each second of
computing; a ratio is ours / the peer's. The peers ran under the same setting as ours, `OMP_WAIT_POLICY=PASSIVE`, which
`import hitchain` makes before PyTorch is loaded. (Spinning, the idle threads of PyTorch and Numba take the processor
from each other.)

Machine: {machine}. {versions}. The whole took {minutes:.1f} minutes.

"""


def page(reports: list[Report], seconds: float) -> str:
    """The whole page."""
    head = HEAD.format(threads=THREADS, machine=machine(), versions=versions(), minutes=seconds / 60.0)
    return head + table(reports) + "\n" + _unmet(reports) + _notes(reports)


def table(reports: list[Report]) -> str:
    """A line for every bar."""
    rows = ["| row | ours | bar | peer | ratio | verdict |", "|---|---|---|---|---|---|"]
    for report in reports:
        for index, line in enumerate(report.lines):
            ratio = "-" if line.ratio is None else f"{line.ratio:.3g}"
            first = (report.title, report.ours) if index == 0 else ("", "")
            rows.append(f"| {first[0]} | {first[1]} | {line.bar} | {line.peer} | {ratio} | {line.verdict} |")
    limits = ["", "| row | bound by | how near |", "|---|---|---|"]
    limits += [f"| {report.title} | {report.limit} | {report.near} |" for report in reports]
    return "\n".join(rows + limits) + "\n"


def _unmet(reports: list[Report]) -> str:
    found = [
        f"- {report.title}: {line.bar}; the ratio is {line.ratio:.3g}.\n"
        for report in reports
        for line in report.lines
        if line.verdict == "**not met**"
    ]
    return "\n## Bars not met\n\n" + ("".join(found) if found else "None of those measured.\n")


def _notes(reports: list[Report]) -> str:
    found = [f"- {report.title}: {note}\n" for report in reports for note in report.notes]
    return "\n## Notes\n\n" + "".join(found) if found else ""


def machine() -> str:
    """Model and cores of the processor, without the name of the machine."""
    model = platform.machine()
    try:
        named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        model = named[1].strip() if named else model
    except OSError:
        pass
    return f"{model}, {os.cpu_count()} cores"


def versions() -> str:
    """Python, PyTorch and the peers."""
    found = [f"Python {platform.python_version()}", f"PyTorch {importlib.metadata.version('torch')}"]
    found.append(f"Numba {importlib.metadata.version('numba')}")
    for name in PEERS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)
