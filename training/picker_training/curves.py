"""Curves: named lines over a common axis, drawn as one PNG of several panels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from picker_runtime.atomic import atomic_writer
from picker_runtime.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Sequence[tuple[float, float]]

PUBLISHED = "published"
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 6.4, 3.6, 110


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves by name, points `(x, y)`; names that begin with `published` are drawn as dots.

    logarithmic: the x axis. y_range: lowest and highest value shown; None to show all.
    """

    curves: Mapping[str, Curve]
    title: str = ""
    x_label: str
    y_label: str = ""
    logarithmic: bool = False
    y_range: tuple[float, float] | None = None


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Write panels one below the other as a PNG.

    Raises:
        UsageError: E82 if matplotlib is not installed.
        OutputError: E70 or E71 if the file cannot be written.
    """
    figures = require("matplotlib.figure", extra="training")
    size = (WIDTH_INCHES, HEIGHT_INCHES * len(panels))
    figure = figures.Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    for panel, axes in zip(panels, figure.subplots(len(panels), squeeze=False).flat, strict=True):
        _draw(panel, axes)
    with atomic_writer(path, "wb") as stream:
        figure.savefig(stream, format="png")


def _draw(panel: Panel, axes: "Axes") -> None:
    for name, curve in panel.curves.items():
        style = "o" if name.startswith(PUBLISHED) else ".-" if panel.logarithmic else "-"
        axes.plot([x for x, _ in curve], [y for _, y in curve], style, label=name, linewidth=1.2)
    if panel.logarithmic:
        axes.set_xscale("log")
    if panel.y_range is not None:
        axes.set_ylim(*panel.y_range)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.grid(alpha=0.3)
    if panel.curves:
        axes.legend(fontsize="small")
