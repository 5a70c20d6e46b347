"""The report of a run: one HTML file that opens offline, with everything to hear, see and read in it."""

from collections.abc import Sequence
from pathlib import Path

from hitchain.chain.report.figure import write_history_picture
from hitchain.chain.report.page import write_report
from hitchain.errors import UserError

__all__ = ["show", "write_history_picture", "write_report"]


def show(words: Sequence[str]) -> None:
    """`hitchain report RUN_FOLDER`: write the report of a finished run again, and print where it is."""
    if len(words) != 1:
        raise UserError("give one run folder: hitchain report RUN_FOLDER")
    if not (Path(words[0]) / "result.json").is_file():
        raise UserError(f"{words[0]} is not the folder of a finished run: it has no result.json.")
    print(write_report(Path(words[0])))
