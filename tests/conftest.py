"""What every test runs under: one thread for each parallel worker, and one profile of generated examples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hitchain  # first: it sets how OpenMP waits, before PyTorch is loaded  # isort: skip  # noqa: F401
import pytest
import torch
from hypothesis import HealthCheck, settings

Accuracy = Callable[..., None]
PAGE = """# Accuracy

Written by `make docs` from the tests that compare a block with what nobody here wrote: scipy, pedalboard, published
formulas and data, other packages, or an independent loop over samples; do not edit. Each figure was measured in the run
that wrote the page, and the same tests hold it to its bound.

| block | against | error | bound |
|---|---|---|---|
"""

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

settings.register_profile(
    "hitchain",
    deadline=None,  # the first example compiles kernels
    max_examples=8,
    derandomize=True,  # a failure on one machine is a failure on all
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("hitchain")


@pytest.fixture
def accuracy(request: pytest.FixtureRequest) -> Accuracy:
    """Hold a measured error to its bound, and put it on the page docs/accuracy.md.

    accuracy("effects/tremolo", "a loop over samples", -131.0, bound=-120.0)            dB unless told otherwise
    accuracy("instruments/pluck", "equal temperament, E1 to E6", 0.4, bound=1.0, unit="cent")
    """

    def measured(block: str, against: str, error: float, bound: float, unit: str = "dB") -> None:
        request.node.user_properties.append(("accuracy", [block, against, float(error), float(bound), unit]))
        assert error <= bound, f"{block} against {against}: {error:.4g} {unit}, more than {bound:g}"

    return measured


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accuracy", metavar="FILE", help="run the tests that measure accuracy, and write the page there")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--accuracy"):
        items[:] = [item for item in items if "accuracy" in getattr(item, "fixturenames", ())]


_rows: dict[tuple[str, str], list[Any]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for name, row in report.user_properties:
            if name == "accuracy" and isinstance(row, list):
                known = _rows.get((row[0], row[1]))
                _rows[row[0], row[1]] = row if known is None or row[2] > known[2] else known  # the worst case counts


def pytest_sessionfinish(session: pytest.Session) -> None:
    page = session.config.getoption("--accuracy")
    if page and "PYTEST_XDIST_WORKER" not in os.environ:
        Path(page).write_text(PAGE + "".join(_shown()), encoding="utf-8")


def _shown() -> Iterator[str]:
    for _, (block, against, error, bound, unit) in sorted(_rows.items()):
        yield f"| {block} | {against} | {error:.3g} {unit} | {bound:g} {unit} |\n"
