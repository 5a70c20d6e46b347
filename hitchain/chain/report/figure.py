"""The picture of a climb for a README: rating curve, and the master's spectrogram before and after."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hitchain import files
from hitchain.chain.report import curve
from hitchain.chain.report.run import Run, read_run
from hitchain.drawing import pictures
from hitchain.drawing.page import number
from hitchain.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCENT, _SECOND, _SOFT, _INK = "#8a3b1e", "#2b5f75", "#8b877f", "#1d1c1a"


def write_history_picture(folder: Path, path: Path) -> None:
    """Draw the climb of a run folder as a PNG.

    Args:
        folder: of a run of `hitchain optimize`, with history.jsonl, before.wav and master.wav.
        path: of the PNG, written whole or not at all.

    Raises:
        UserError: matplotlib is not installed, or the folder holds no history.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("drawing a picture needs matplotlib: pip install 'hitchain[pictures]'.") from error
    run = read_run(Path(folder))
    if not run.history:
        raise UserError(f"{folder} holds no history.jsonl to draw.")
    figure = Figure(figsize=(10.0, 3.6), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1.0))
    _draw_curve(figure.add_subplot(grid[:, 0]), run)
    for row, (name, label) in enumerate((("before.wav", "before"), ("master.wav", "after"))):
        _draw_spectrogram(figure.add_subplot(grid[row, 1]), run, name, label)
    with files.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_curve(axes: Axes, run: Run) -> None:
    for line in curve.candidates(run.history):
        axes.plot(*zip(*line, strict=True), color=_SOFT, linewidth=0.6, alpha=0.3)
    styles: dict[str, tuple[str, dict[str, Any]]] = {
        "rating": ("mean of the candidates", {"color": _ACCENT, "linewidth": 1.0, "alpha": 0.6}),
        "best": ("best candidate", {"color": _ACCENT, "linewidth": 2.2}),
        "heldout": ("held-out rater", {"color": _SECOND, "linewidth": 1.8, "linestyle": (0, (4, 2))}),
    }
    for key, (label, style) in styles.items():
        points = curve.series(run.history, key)
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    before, after = (number(run.result.get(f"rating_{when}")) for when in ("before", "after"))
    if before is not None and after is not None:
        axes.set_title(f"rating {before:.2f} → {after:.2f}", loc="left", fontsize=11, color=_INK)
    axes.set_xlabel("step", color=_SOFT)
    axes.set_ylabel("rating", color=_SOFT)
    axes.grid(axis="y", color="#e3e0da", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_SOFT, labelsize=8)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_spectrogram(axes: Axes, run: Run, name: str, label: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(label, loc="left", fontsize=9, color=_INK)
    path = run.audio(name)
    if path is None:
        axes.text(0.5, 0.5, f"no {name}", ha="center", va="center", color=_SOFT, transform=axes.transAxes)
        return
    audio, sample_rate = files.read_audio(path)
    colours = pictures.magma()[(pictures.mel_levels(audio, sample_rate) * 255.0).round().astype("uint8")]
    axes.imshow(colours, aspect="auto", interpolation="bilinear")
