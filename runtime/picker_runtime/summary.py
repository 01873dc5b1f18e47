"""Summaries in plain text: what the command line shows of a detection, of a batch and of a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from picker_runtime.batch import BatchResult
from picker_runtime.detections import Detections
from picker_runtime.errors import one_line
from picker_runtime.records import DetectionRecord


def columns(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> str:
    """Return rows as aligned columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        indent
        + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )


def picks_table(record: DetectionRecord, picks: Detections) -> str:
    """Return the picks of one tomogram per class: count, threshold, median score; with a line for all classes."""
    rows = [("class", "picks", "threshold", "median score")]
    for class_id, name in enumerate(record.model.classes):
        if name not in record.counts:
            continue
        scores = picks.scores[picks.class_ids == class_id]
        rows.append((one_line(name), str(len(scores)), f"{record.thresholds[name]:.3f}", _median(scores)))
    rows.append(("all", str(len(picks)), "", _median(picks.scores)))
    z, y, x = record.tomogram.shape
    size = f"{z} x {y} x {x} voxels (z, y, x) of {record.tomogram.voxel_size_angstrom:.2f} A"
    return f"{one_line(record.tomogram.name)}: {size}\n{columns(rows)}"


def written_line(seconds: float, folder: Path, names: Sequence[str]) -> str:
    """Return the line that ends a tomogram: how long it took and what was written."""
    return one_line(f"  {seconds:.2f} s, {len(names)} files written to {folder}: {', '.join(names)}")


def batch_line(result: BatchResult) -> str:
    """Return the line that ends a batch of several files."""
    untried = f", {result.untried} not tried" if result.untried else ""
    return f"{result.done} of {result.total} files done, {result.refused} refused{untried}"


def _median(scores: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return f"{np.median(scores):.3f}" if len(scores) else "-"
