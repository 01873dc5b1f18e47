"""Coordinates that belong to a tomogram but were written otherwise: another scale, other axes, z upside down."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box
from picker_training.datasets.density import Density
from picker_training.datasets.picks import ListedPick, TomogramFile, anchor_of
from picker_training.picks_section import PicksSection

BINNINGS = (2.0, 4.0, 8.0)
MANY = 0.2
"""From this share of picks outside the tomogram on, the fault is looked for in all of them, not in each."""

NEARLY_ALL = 0.99
LEAST_CLUSTERED = 8
"""Fewer picks may lie near the origin by chance."""

CLEAR = 5.0
"""Standard errors from which on density says that particles are at a place."""

ADVANTAGE = 3.0
"""So many times clearer must the density be where the picks would lie if they had been written otherwise."""


@dataclass(frozen=True, kw_only=True)
class Misreading:
    """What is wrong with all coordinates of a file, and what to type."""

    severity: Literal["error", "warning"]
    found: str
    expected: str
    fix: str


def rescaled(picks: list[ListedPick], file: TomogramFile, section: PicksSection) -> Misreading | None:
    """Tell whether picks fit a tomogram only if they are divided, or fill it only if they are multiplied, by a factor.

    Factors are the voxel size, for coordinates in the wrong unit, and 2, 4 and 8, for binning.
    """
    positions, anchor = _positions(picks), anchor_of(picks[0].file, file.shape, section)
    factors = sorted({*BINNINGS, file.voxel_size} - {1.0})
    if _share_inside(positions, file) < 1 - MANY:
        if any(_share_inside(p, file) >= NEARLY_ALL for _, p in _rewritten(positions, picks, file, section)):
            return None
        for factor in factors:
            if factor > 1 and _share_inside(anchor + (positions - anchor) / factor, file) >= NEARLY_ALL:
                return Misreading(
                    severity="error", found=f"{_extent(positions, file)}; divided by {_named(factor, file)} all fit",
                    expected="voxels of this tomogram", fix=f"--scale {section.scale / factor:.6g}",
                )  # fmt: skip
        return None
    fitting = [f for f in factors if f > 1 and _share_inside(anchor + (positions - anchor) * f, file) == 1.0]
    if not fitting or len(picks) < LEAST_CLUSTERED:
        return None
    return Misreading(
        severity="warning", found=f"{_extent(positions, file)}; times {_named(fitting[-1], file)} they still fit",
        expected="picks all over the tomogram", fix=f"--scale {section.scale * fitting[-1]:.6g}, if they were binned",
    )  # fmt: skip


def misplaced(
    picks: list[ListedPick], file: TomogramFile, section: PicksSection, density: Density, diameter_voxels: float
) -> Misreading | None:
    """Tell whether picks fit a tomogram, or lie on its particles, only with x and z swapped or z counted from above.

    By the bounds where many lie outside; else by how clearly density at the picks differs from that about them.
    """
    positions = _positions(picks)
    if _share_inside(positions, file) < 1 - MANY:
        for other, moved in _rewritten(positions, picks, file, section):
            if _share_inside(moved, file) >= NEARLY_ALL:
                return _otherwise(f"{_extent(positions, file)}; {_change(section, other)} all fit", other)
        return None
    own = density.prominence(positions, diameter_voxels)
    others = [
        (density.prominence(moved, diameter_voxels), other)
        for other, moved in _rewritten(positions, picks, file, section)
    ]
    clear, other = max(others, key=lambda pair: pair[0])
    if clear < max(CLEAR, ADVANTAGE * own):
        return None
    found = f"density at the picks differs by {own:.1f} standard errors from that about them"
    return _otherwise(f"{found}, {_change(section, other)} by {clear:.1f}", other)


def _rewritten(
    positions: NDArray[np.float64], picks: list[ListedPick], file: TomogramFile, section: PicksSection
) -> Iterator[tuple[PicksSection, NDArray[np.float64]]]:
    """Yield the other ways to read the picks, with the positions `(n, 3)` that each would give."""
    anchor = anchor_of(picks[0].file, file.shape, section)
    top = file.shape[0] - 1
    upright = _flipped(positions, top) if section.flip_z else positions
    swapped = anchor + (upright - anchor)[:, ::-1]
    for axes, points in ((section.axes, upright), ("zyx" if section.axes == "xyz" else "xyz", swapped)):
        for flip_z in (section.flip_z, not section.flip_z):
            if (axes, flip_z) != (section.axes, section.flip_z):
                yield (
                    replace(section, axes=axes, flip_z=flip_z),
                    _flipped(points, top) if flip_z else points,
                )


def _flipped(positions: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    return np.column_stack([top - positions[:, 0], positions[:, 1:]])


def _otherwise(found: str, other: PicksSection) -> Misreading:
    flip = " --flip-z" if other.flip_z else ""
    return Misreading(
        severity="error", found=found, expected="picks on particles", fix=f"read them so: --axes {other.axes}{flip}"
    )


def _change(now: PicksSection, other: PicksSection) -> str:
    changes = ["x and z swapped"] * (now.axes != other.axes) + ["z counted from above"] * (now.flip_z != other.flip_z)
    return "with " + " and ".join(changes)


def _positions(picks: list[ListedPick]) -> NDArray[np.float64]:
    return np.array([pick.position for pick in picks], np.float64).reshape(-1, 3)


def _share_inside(positions: NDArray[np.float64], file: TomogramFile) -> float:
    return float(np.mean(Box.whole(file.shape).contains(positions)))


def _extent(positions: NDArray[np.float64], file: TomogramFile) -> str:
    """Say how far picks reach on the axis on which they reach farthest beyond the tomogram."""
    reach = positions.max(axis=0)
    axis = int(np.argmax(reach / np.array(file.shape)))
    return f"{'zyx'[axis]} reaches {reach[axis]:.0f} in {file.shape[axis]} voxels of {file.name}"


def _named(factor: float, file: TomogramFile) -> str:
    what = "the voxel size" if factor == file.voxel_size else "binning"
    return f"{factor:.6g} ({what})"
