"""From candidates to picks: thresholds per class, then removal of the weaker of two particles that overlap."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from picker_runtime.detections import Detections

PAIRS_AT_A_TIME = 1 << 20  # bounds the memory of the search for neighbours
ROWS_BELOW = ((0, 1), (1, -1), (1, 0), (1, 1))  # (z, y) steps to the rows of cells after one's own: each pair once


def pick(candidates: Detections, *, thresholds: NDArray[np.float64], fraction: float, voxel_size: float) -> Detections:
    """Return the picks among candidates: scores at or above their class's threshold, then `suppress`, best first.

    thresholds: `(classes,) float64`; infinity leaves a class out.
    Values are rounded first, as a text file holds them, so that picks made again from a file are the same.
    """
    rounded = candidates.rounded()
    above = rounded.scores >= thresholds[rounded.class_ids]
    return suppress(rounded.select(above), fraction=fraction, voxel_size=voxel_size)


def suppress(detections: Detections, *, fraction: float, voxel_size: float) -> Detections:
    """Return the detections that no better kept one overlaps, best first (ties by z, then y, then x).

    Two overlap, whatever their classes, when their distance is below `fraction` times the mean of their diameters.

    voxel_size: angstrom, to compare diameters with positions.
    """
    ranked = detections.by_score()
    if len(ranked) == 0:
        return ranked
    reaches = ranked.diameters * (fraction / voxel_size / 2)  # voxels; two overlap below the sum of their reaches
    better, worse = _overlaps(ranked.positions, reaches)
    order = np.argsort(better, kind="stable")
    better, worse = better[order], worse[order]
    borders = [*np.flatnonzero(np.diff(better, prepend=-1)), len(better)]
    kept = np.ones(len(ranked), np.bool_)
    for first, stop in pairwise(borders):
        if kept[better[first]]:
            kept[worse[first:stop]] = False
    return ranked.select(kept)


def _overlaps(
    positions: NDArray[np.float64], reaches: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the lower and the higher index of every pair nearer than the sum of its reaches."""
    lower, higher = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for a, b in _neighbours(positions, edge=max(2 * float(reaches.max()), 1.0)):
        near = np.linalg.norm(positions[a] - positions[b], axis=1) < reaches[a] + reaches[b]
        a, b = a[near], b[near]
        lower.append(np.minimum(a, b).astype(np.int32))
        higher.append(np.maximum(a, b).astype(np.int32))
    return np.concatenate(lower), np.concatenate(higher)


def _neighbours(positions: NDArray[np.float64], *, edge: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield index pairs, each pair once, that hold every two points nearer than `edge`: a list of cubic cells."""
    cells = np.floor((positions - positions.min(axis=0)) / edge).astype(np.int64) + 1
    _, height, width = cells.max(axis=0) + 2  # a margin of one empty cell keeps rows apart
    keys = (cells[:, 0] * height + cells[:, 1]) * width + cells[:, 2]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    here = np.arange(len(keys))
    yield from _expanded(order, here + 1, np.searchsorted(keys, keys + 1, side="right"))
    for dz, dy in ROWS_BELOW:
        row = keys + (dz * height + dy) * width
        yield from _expanded(order, np.searchsorted(keys, row - 1), np.searchsorted(keys, row + 1, side="right"))


def _expanded(
    order: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield, in bounded portions, point i of the sorted points with each of those from start[i] to stop[i]."""
    counts = stop - start
    ends = np.cumsum(counts)
    low = 0
    while low < len(counts):
        done = ends[low - 1] if low else 0
        high = max(int(np.searchsorted(ends, done + PAIRS_AT_A_TIME, side="right")), low + 1)
        part = counts[low:high]
        within = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield order[np.repeat(np.arange(low, high), part)], order[np.repeat(start[low:high], part) + within]
        low = high
