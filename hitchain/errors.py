"""The one error a person sees: what was wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave (a file, a key, a value).

    The command line prints the message without a traceback and exits with code 2; from Python it is an ordinary
    exception whose message says what was wrong, where, and what would be right.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known word closest to `name`, or lists what there is.

    >>> nearest("treshold", ["threshold", "ratio"])
    "did you mean 'threshold'?"
    """
    options = sorted(set(known))
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if not options:
        return "there is nothing to choose from here."
    return "it can be one of: " + ", ".join(options) + "."
