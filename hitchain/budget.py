"""How long something may go on: by the clock, or in steps."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from hitchain.errors import UserError

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_FORM = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:e(\d+))?\s*(s|m|h|steps?)?")


@dataclass(frozen=True)
class Budget:
    """A limit: `seconds` of wall-clock, or `steps`; None where there is none of that kind."""

    seconds: float | None = None
    steps: int | None = None


def read_budget(value: Any, where: str) -> Budget:
    """A budget from None, 90 (seconds), "90s", "10m", "1h" or "200steps".

    Raises `UserError`, naming the key `where`, for anything else or a limit that is not over 0.
    """
    if value is None:
        return Budget()
    found = None if isinstance(value, bool) else _FORM.fullmatch(str(value).strip().lower())
    amount = 0.0 if found is None else float(found[1]) * 10.0 ** int(found[2] or 0)
    steps = found is not None and (found[3] or "").startswith("step")
    if found is None or not 0 < amount < 1e9 or (steps and amount != math.floor(amount)):
        raise UserError(f"{where}={value!r} should be a time such as 90s, 10m or 1h, or steps such as 200steps.")
    return Budget(steps=int(amount)) if steps else Budget(seconds=amount * _SECONDS[found[3] or ""])
