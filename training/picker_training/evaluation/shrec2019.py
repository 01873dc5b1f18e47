"""The rule of SHREC 2019."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.hits import (
    FRAME_OFFSET,
    NO_CLASS,
    Hits,
    PlacedPicks,
    ZFrame,
    check,
    classify,
    mean_distance,
    outside_slab,
    unknown_names,
    values_at,
    with_others,
)
from picker_training.evaluation.shrec_score import ShrecScore

CLASSES_2019 = ("1bxn", "1qvr", "1s3x", "1u6g", "2cg9", "3cf3", "3d2f", "3gl1", "3h84", "3qm1", "4b4t", "4d8q")
"""The classes of SHREC 2019 in the order of their numbers, from 1."""


def score_2019(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
    z_frame: ZFrame | str = ZFrame.SLAB,
    padding: int = 0,
) -> ShrecScore:
    """Score picks by the rule of SHREC 2019, `shrec2019`.

    Positions are rounded, half to even; then 156 is taken off z, unless the list counts z from the slab, and the
    padding off every axis; then they are clipped to the mask. A pick hits the particle whose number lies there: nothing
    is dilated. The distance is the mean over all hits, not the first ones. A hit labelled "0" is a hit, but counts
    among the FP as well; a truth's class is that of its first hit with another label. `ZFrame.GUESS` means the
    tomogram's frame: the organisers' script takes it unless it is told otherwise, and does not look at the list.

    Worked: one truth of class 1bxn, its voxels z, y, x = 2 2 2 and 2 2 3, centre 2 2 2. Picks: 0 at 2 2 2; 1bxn at
    2 2 3; 1bxn at 2 3 2, beside it. TP 1, FP 2 (the first and the third), MH 1, AD (0 + 1) / 2, precision 1/3, F1 1/2,
    F1 of 1bxn 1.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
    """
    check(pick_names, pick_positions, truth, occupancy_mask)
    below = 0 if ZFrame(z_frame) is ZFrame.SLAB else FRAME_OFFSET
    depth, height, width = occupancy_mask.shape
    shift, high = (below + padding, padding, padding), (depth - 1, height - 1, width - 1)
    picks = PlacedPicks.place(pick_names, pick_positions, shift=shift, low=(0, 0, 0), high=high)
    warnings = outside_slab(picks, depth)
    return _score(picks, values_at(occupancy_mask, picks.voxels), truth, warnings)


def _score(picks: PlacedPicks, numbers: NDArray[np.int64], truth: Truth, warnings: tuple[str, ...]) -> ShrecScore:
    named = np.array([name != NO_CLASS for name in picks.names], bool)
    on_truth = np.flatnonzero(numbers)
    struck = numbers[on_truth] - 1
    hits, classifying = Hits.find(numbers), Hits.find(np.where(named, numbers, 0))
    classes = with_others(CLASSES_2019, truth.names)
    return ShrecScore(
        picks=len(picks),
        truths=len(truth),
        tp=len(hits),
        fp=int(np.sum((numbers == 0) | ~named)),
        mh=int(np.sum(hits.times > 1)),
        ro=picks.clipped,
        ad=mean_distance(picks.voxels[on_truth], truth, struck, listed=True),
        centre_error=mean_distance(picks.exact[on_truth], truth, struck, listed=False),
        confusion=classify(classes, truth.names, classifying.truths, [picks.names[i] for i in classifying.first]),
        warnings=unknown_names(classes, picks.names) + warnings,
    )
