"""The report of a run: one HTML file that opens offline, with everything to hear, see and read in it."""

from hitchain.chain.report.figure import write_history_picture
from hitchain.chain.report.page import write_report

__all__ = ["write_history_picture", "write_report"]
