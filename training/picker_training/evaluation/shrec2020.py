"""The rule of SHREC 2020, and a variant of it that is in circulation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.hits import (
    FRAME_OFFSET,
    PlacedPicks,
    ZFrame,
    check,
    dilated_at,
    outside_slab,
    unknown_names,
    with_others,
)
from picker_training.evaluation.shrec_score import ShrecScore, score_first_hits

CLASSES_2020 = ("3cf3", "1s3x", "1u6g", "4cr2", "1qvr", "3h84", "2cg9", "3qm1", "3gl1", "3d2f", "4d8q", "1bxn")
"""The classes of SHREC 2020 in the order of their numbers, from 1."""


def score_2020(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
    z_frame: ZFrame | str = ZFrame.SLAB,
) -> ShrecScore:
    """Score picks by the rule of SHREC 2020, `shrec2020`.

    Positions are rounded, half to even, moved into the tomogram's frame (156 slices more than the mask below and above)
    and clipped to it: z may lie outside the slab, which is background. A pick hits the particle whose number
    `dilated_at` finds there. The first pick that hits a truth gives its class; "0" and unknown names, upper case
    included, are background there. `ZFrame.GUESS`: if the smallest rounded z is below 156 or the largest above 156 + D
    all z are taken as the slab's, else all as the tomogram's; both misread some lists. What is counted: `ShrecScore`.

    Worked: one truth, its only voxel at x, y, z = 2, 2, 2. Picks: 2 2 2.5 rounds to the voxel and hits; 2 3 2 is a
    neighbour and hits again; 3 3 2 touches only by an edge: background. TP 1, FP 1, MH 1, AD 0, precision 1/3, F1 1/2.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    check(pick_names, pick_positions, truth, occupancy_mask)
    depth, height, width = occupancy_mask.shape
    frame = ZFrame(z_frame)
    guessed = frame is ZFrame.GUESS and _looks_like_tomogram(np.rint(pick_positions[:, 0]), depth)
    in_tomogram = frame is ZFrame.TOMOGRAM or guessed
    picks = PlacedPicks.place(
        pick_names,
        pick_positions,
        shift=(FRAME_OFFSET if in_tomogram else 0, 0, 0),
        low=(-FRAME_OFFSET, 0, 0),
        high=(depth + FRAME_OFFSET - 1, height - 1, width - 1),
    )
    classes = with_others(CLASSES_2020, truth.names)
    warnings = unknown_names(classes, picks.names) + outside_slab(picks, depth)
    return score_first_hits(picks, dilated_at(occupancy_mask, picks.voxels), truth, classes, warnings=warnings)


def score_2020_copy(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
) -> ShrecScore:
    """Score picks by `shrec2020-copy`, an adaptation of the rule of SHREC 2020 without frames.

    As `score_2020`, but z counts from the slab and is clipped to it, so picks above and below it may hit.

    Worked: one truth, its only voxel at x, y, z = 2, 2, 0. Pick 2 2 -7 is clipped to the voxel and hits: TP 1, RO 1;
    by `score_2020` it is background: TP 0, FP 1, RO 0.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    check(pick_names, pick_positions, truth, occupancy_mask)
    depth, height, width = occupancy_mask.shape
    high = (depth - 1, height - 1, width - 1)
    picks = PlacedPicks.place(pick_names, pick_positions, shift=(0, 0, 0), low=(0, 0, 0), high=high)
    classes = with_others(CLASSES_2020, truth.names)
    warnings = unknown_names(classes, picks.names) + outside_slab(picks, depth, option=f"--z-offset {FRAME_OFFSET}")
    return score_first_hits(picks, dilated_at(occupancy_mask, picks.voxels), truth, classes, warnings=warnings)


def _looks_like_tomogram(z: NDArray[np.float64], slices: int) -> bool:
    """Guess as the organisers do: all rounded z lie in the slab's part of the tomogram, one slice beyond included."""
    return len(z) > 0 and z.min() >= FRAME_OFFSET and z.max() <= FRAME_OFFSET + slices
