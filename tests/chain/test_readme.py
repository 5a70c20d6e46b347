"""The README's own lines, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_the_lines_that_climb_a_rater_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    lines = next(block for block in blocks if "torch.nn.Module" in block)
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    exec(compile(lines, str(README), "exec"), {})  # the test is that these lines run
    before, after = (float(value) for value in re.findall(r"tensor\(\[([\d.]+)\]", capsys.readouterr().out))
    assert after > 1.1 * before
