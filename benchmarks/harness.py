"""Timing: contenders in turn, medians of interleaved repeats, and what a row reports."""

from __future__ import annotations

import ctypes
import gc
import importlib
import re
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

SAMPLE_RATE = 44100
THREADS = 2
LONG = 1.5
"""[s] A pass that takes longer is timed without one before it."""
PATIENCE = 4.0
"""[s] of timed passes after which a slow contender is not repeated."""


@dataclass(frozen=True)
class Contender:
    """One of those compared: `run` is one pass over `audio` seconds of sound, all batch items counted.

    `most` limits the repeats of what is very slow; with `most` = 1 there is no untimed pass before.
    """

    name: str
    run: Callable[[], object]
    audio: float
    most: int = 1000


@dataclass(frozen=True)
class Timing:
    """Median, fastest and slowest pass [s], of `audio` seconds of sound."""

    seconds: float
    fastest: float
    slowest: float
    audio: float

    @property
    def real_time(self) -> float:
        """Seconds of sound for each second of computing."""
        return self.audio / self.seconds

    def show(self) -> str:
        """'123 x (162 ms)'."""
        return f"{self.real_time:.3g} x ({milliseconds(self.seconds)})"


@dataclass(frozen=True)
class Line:
    """Ours against one bar: a peer's package, a published figure or a number. `ratio` is ours / the bar's measure."""

    bar: str
    peer: str
    ratio: float | None = None
    at_least: float | None = None

    @property
    def verdict(self) -> str:
        """Whether the bar is met, in a word."""
        if self.ratio is None or self.at_least is None:
            return "-"
        return "met" if self.ratio >= self.at_least else "**not met**"


@dataclass(frozen=True)
class Report:
    """What a row found: `ours` as text, a line for every bar, what bounds it and how near ours is to that."""

    title: str
    ours: str
    lines: list[Line]
    limit: str
    near: str
    notes: list[str] = field(default_factory=list)


def compare(contenders: Iterable[Contender], repeats: int) -> dict[str, Timing]:
    """Time the contenders in turn, `repeats` rounds. Each timed pass follows one of its own that is not timed.

    In a climb a pass follows another of its kind; here a contender would else begin with the caches full of the last
    one's data and its threads asleep.
    """
    entrants = list(contenders)
    taken: dict[str, list[float]] = {entrant.name: [] for entrant in entrants}
    for _ in range(repeats):
        for entrant in entrants:
            times = taken[entrant.name]
            if len(times) < entrant.most and (len(times) < 2 or sum(times) < PATIENCE):
                gc.collect()
                if entrant.most > 1 and (not times or times[-1] < LONG):
                    entrant.run()
                times.append(once(entrant.run))
    return {
        entrant.name: Timing(statistics.median(times), min(times), max(times), entrant.audio)
        for entrant in entrants
        for times in [taken[entrant.name]]
    }


def once(run: Callable[[], object]) -> float:
    """Seconds of one pass."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def backward(
    process: Callable[[Tensor, dict[str, Tensor]], Tensor], audio: Tensor, settings: Mapping[str, Tensor]
) -> Callable[[], None]:
    """A pass forward and backward, with gradients to the audio and to every setting.

    The gradient that comes in is fixed noise, so that no loss is timed.
    """
    audio = audio.detach().clone().requires_grad_()
    leaves = {name: value.detach().clone().requires_grad_() for name, value in settings.items()}
    cotangent: list[Tensor] = []

    def run() -> None:
        output = process(audio, leaves)
        if not cotangent:
            generator = torch.Generator().manual_seed(1)
            cotangent.append(torch.randn(output.shape, generator=generator) / output.shape[-1])
        torch.autograd.grad(output, [audio, *leaves.values()], cotangent[0], allow_unused=True)

    return run


def music(batch: int, channels: int, seconds: float, seed: int = 0) -> Tensor:
    """Noise that swells and falls, as a compressor is kept busy by: (batch, channels, samples), peaks about 0.5."""
    samples = round(seconds * SAMPLE_RATE)
    generator = torch.Generator().manual_seed(seed)
    swell = 0.05 + 0.45 * torch.sin(torch.arange(samples) * (torch.pi * 2.0 / SAMPLE_RATE)).square()
    return torch.randn(batch, channels, samples, generator=generator).clamp(-3.0, 3.0) / 3.0 * swell


def peer(module: str) -> tuple[ModuleType | None, str]:
    """A peer's module, or None and why it cannot be imported here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module), ""
    except Exception as error:  # other people's packages fail in their own ways
        return None, f"{type(error).__name__}: {error}".splitlines()[0]


def against(ours: Timing, theirs: Timing | None, name: str, bar: str, at_least: float | None, why: str = "") -> Line:
    """The line of a peer that was timed, or that could not be (`why`)."""
    if theirs is None:
        return Line(bar, f"{name}: not measured ({why})")
    return Line(bar, f"{name}: {theirs.show()}", ours.real_time / theirs.real_time, at_least)


def published(ours: Timing, figure: float, name: str, bar: str, at_least: float | None) -> Line:
    """The line of a figure [x real time] that others published or measured on another machine of this kind."""
    return Line(bar, f"{name}: {figure:g} x, not measured here", ours.real_time / figure, at_least)


def milliseconds(seconds: float) -> str:
    """A time for people."""
    return f"{seconds:.3g} s" if seconds >= 1.0 else f"{1000.0 * seconds:.3g} ms"


def reset_peak_memory() -> bool:
    """Make the peak of this process its present size. False where the system cannot."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(
            0
        )  # what was freed goes back to the system, else it hides what is asked for
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return False
    return True


def peak_memory() -> float:
    """[GiB] the most that this process has held since the last reset."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return float("nan")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 2**20 if found else float("nan")
