"""Progress of a long command: a bar on a terminal, now and then a plain line in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

LINE_EVERY = 5.0
"""Seconds between lines where the output is not a terminal."""


class Progress:
    """A context in which work is counted.

        with Progress(total=200, description="climbing") as progress:
            for step in range(1, 201):
                progress.update(step, rating=0.52)

    On a terminal it is one bar with the rate, the time left and the fields. Elsewhere (a pipe, a log file) it is a line
    at the first step, one every `LINE_EVERY` seconds and one at the end.

    Args:
        total: steps of the whole work; None where it is not known.
        description: what is being done, in a word or two.
        initial: steps already done, of work taken up again.
        stream: where to write; standard error where none is given.
        unit: what a step is.
    """

    def __init__(
        self,
        total: int | None,
        description: str,
        initial: int = 0,
        stream: TextIO | None = None,
        unit: str = "step",
    ) -> None:
        self.total = total
        self.description = description
        self.initial = initial
        self.stream = sys.stderr if stream is None else stream
        self.unit = unit
        self._bar: tqdm[None] | None = None
        self._step = initial
        self._fields: dict[str, float | str] = {}
        self._written: int | None = None
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> Progress:
        self._begun = self._last = time.monotonic()
        if self.stream.isatty():
            self._bar = tqdm(
                total=self.total,
                desc=self.description,
                initial=self.initial,
                file=self.stream,
                unit=f" {self.unit}",
                dynamic_ncols=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._written != self._step:
            self._write_line()

    def update(self, step: int, **fields: float | str) -> None:
        """`step` steps are done of the whole. The fields (such as the current rating) are shown beside it."""
        self._step, self._fields = step, fields
        if self._bar is not None:
            self._bar.set_postfix_str(self._shown_fields(), refresh=False)
            self._bar.update(step - self._bar.n)
        elif self._written is None or time.monotonic() - self._last >= LINE_EVERY:
            self._write_line()

    def note(self, text: str) -> None:
        """A line of text that does not break the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def _write_line(self) -> None:
        now = time.monotonic()
        seconds = now - self._begun
        of_total = "" if self.total is None else f"/{self.total}"
        rate = (self._step - self.initial) / seconds if seconds > 0 else 0.0
        parts = [f"{self.description}: {self.unit} {self._step}{of_total}", f"{seconds:.0f} s"]
        if rate > 0:
            plural = self.unit + ("es" if self.unit.endswith("ch") else "s")
            parts.append(f"{rate:.2f} {plural}/s" if rate >= 0.1 else f"{1.0 / rate:.0f} s a {self.unit}")
        if self._fields:
            parts.append(self._shown_fields())
        print(", ".join(parts), file=self.stream, flush=True)
        self._last, self._written = now, self._step

    def _shown_fields(self) -> str:
        return ", ".join(
            f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:.3f}'}"
            for name, value in self._fields.items()
        )
