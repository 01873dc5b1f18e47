"""Coordinates that belong to a tomogram but were written otherwise, x and z swapped or z upside down; or on nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box
from picker_training.datasets.density import Density
from picker_training.datasets.picks import ListedPick, TomogramFile, anchor_of
from picker_training.picks_section import PicksSection

MANY = 0.2
"""From this share of picks outside the tomogram on, the fault is looked for in all of them, not in each."""

NEARLY_ALL = 0.99
CLEAR = 5.0
"""Standard errors from which on density says that particles are at a place."""

ADVANTAGE = 3.0
"""So many times clearer must the density be where the picks would lie if they had been written otherwise."""

DOUBTFUL = 2.0
"""Standard errors below which density says that particles may well not be where the picks are."""

LEAST_TO_DOUBT = 50
"""Density at fewer picks may not stand out although there is a particle at each.

In simulated tomograms of the twelve SHREC 2020 classes (54 to 183 A, SNR 0.03 to 0.1) the density at a particle differs
from that about it by 0.7 (3h84, a ring, at SNR 0.03) to 13 times its own standard deviation among particles of one
class. 50 picks of the least clear come to 5 standard errors, and to less than `DOUBTFUL` in 1 of 3000 draws, even where
they are 10 A off along each axis; 30 picks in 1 of 65.
"""


@dataclass(frozen=True, kw_only=True)
class Misreading:
    """What is wrong with all coordinates of a file, and what to type."""

    severity: Literal["error", "warning"]
    found: str
    expected: str
    fix: str


def misplaced(
    picks: list[ListedPick], file: TomogramFile, section: PicksSection, density: Density, diameter_voxels: float
) -> Misreading | None:
    """Tell whether picks fit a tomogram, or lie on its particles, only with x and z swapped or z counted from above.

    By the bounds where many lie outside; else by how clearly density at the picks differs from that about them.
    """
    positions = positions_of(picks)
    if share_inside(positions, file) < 1 - MANY:
        for other, moved in rewritten(positions, picks, file, section):
            if share_inside(moved, file) >= NEARLY_ALL:
                return _otherwise(f"{extent(positions, file)}; {_change(section, other)} all fit", other)
        return None
    own = density.prominence(positions, diameter_voxels)
    others = [
        (density.prominence(moved, diameter_voxels), other)
        for other, moved in rewritten(positions, picks, file, section)
    ]
    clear, other = max(others, key=lambda pair: pair[0])
    if clear < max(CLEAR, ADVANTAGE * own):
        return None
    return _otherwise(f"{_standing_out(own)}, {_change(section, other)} by {clear:.1f}", other)


def on_nothing(
    picks: list[ListedPick], section: PicksSection, density: Density, diameter_voxels: float
) -> Misreading | None:
    """Tell whether density says that there are no particles at the picks, background left out, of a known diameter."""
    particles = [pick for pick in picks if pick.name not in section.background]
    if len(particles) < LEAST_TO_DOUBT or not diameter_voxels:
        return None
    own = density.prominence(positions_of(particles), diameter_voxels)
    if own >= DOUBTFUL:
        return None
    return Misreading(
        severity="warning", found=_standing_out(own), expected="particles there",
        fix="check --scale, --axes, --flip-z and the voxel size, and look at them in a viewer",
    )  # fmt: skip


def _standing_out(own: float) -> str:
    return f"density at the picks differs by {own:.1f} standard errors from that about them"


def rewritten(
    positions: NDArray[np.float64], picks: list[ListedPick], file: TomogramFile, section: PicksSection
) -> Iterator[tuple[PicksSection, NDArray[np.float64]]]:
    """Yield the other ways to read the picks, with the positions `(n, 3)` that each would give."""
    anchor = anchor_of(picks[0].file, file.shape, section)
    top = file.shape[0] - 1
    upright = upright_of(positions, file, section)
    swapped = anchor + (upright - anchor)[:, ::-1]
    for axes, points in ((section.axes, upright), ("zyx" if section.axes == "xyz" else "xyz", swapped)):
        for flip_z in (section.flip_z, not section.flip_z):
            if (axes, flip_z) != (section.axes, section.flip_z):
                yield (
                    replace(section, axes=axes, flip_z=flip_z),
                    _flipped(points, top) if flip_z else points,
                )


def upright_of(positions: NDArray[np.float64], file: TomogramFile, section: PicksSection) -> NDArray[np.float64]:
    """Return positions `(n, 3)` as they were before z was counted from above, or so again if they are such already."""
    return _flipped(positions, file.shape[0] - 1) if section.flip_z else positions


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


def positions_of(picks: list[ListedPick]) -> NDArray[np.float64]:
    """Return where picks lie, `(n, 3) float64, zyx, voxels`."""
    return np.array([pick.position for pick in picks], np.float64).reshape(-1, 3)


def share_inside(positions: NDArray[np.float64], file: TomogramFile) -> float:
    """Return which part of positions `(n, 3) zyx, voxels` lies in a tomogram."""
    return float(np.mean(Box.whole(file.shape).contains(positions)))


def extent(positions: NDArray[np.float64], file: TomogramFile) -> str:
    """Say how far picks reach on the axis on which they reach farthest beyond the tomogram."""
    reach = positions.max(axis=0)
    axis = int(np.argmax(reach / np.array(file.shape)))
    return f"{'zyx'[axis]} reaches {reach[axis]:.0f} in {file.shape[axis]} voxels of {file.name}"
