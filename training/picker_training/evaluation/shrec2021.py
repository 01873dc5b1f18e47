"""The rule of SHREC 2021 as it was published, and without its odd denominators."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_training.datasets.truth import Truth
from picker_training.evaluation.hits import PlacedPicks, check, dilated_at, unknown_names, with_others
from picker_training.evaluation.shrec_score import ShrecScore, score_first_hits

CLASSES_2021 = (
    "4V94", "4CR2", "1QVR", "1BXN", "3CF3", "1U6G", "3D2F", "2CG9", "3H84", "3GL1", "3QM1", "1S3X", "5MRC",
    "vesicle", "fiducial",
)  # fmt: skip
"""The classes of SHREC 2021 in the order of their numbers, from 1."""

UNLISTED, VESICLE = "4V94", "vesicle"
EXCLUDED = (UNLISTED, VESICLE)
"""Classes that the published results leave out."""

LAST = 511
"""The last index to which the rule clips, on every axis and whatever the mask."""


class MaskTooSmallError(ValueError):
    """A pick, clipped, lies beyond the mask: the organisers' script cannot look it up."""


def score_2021(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
) -> ShrecScore:
    """Score picks by the rule of SHREC 2021 as it was published, `shrec2021`: 4V94 and vesicles are skipped.

    Positions are rounded, half to even, and clipped to 0..511 on every axis. A pick hits the particle whose number
    `dilated_at` finds there. Truths of 4V94 and vesicles leave the list, and picks on them leave TP and FP; but those
    picks stay in RR, those particles still hide their neighbours' voxels, and the vesicles stay in the recall's
    denominator: it is TP + FN + vesicles (1571 against 1565 in the test tomogram). Miss rate 1 - recall. Names are
    upper case but `vesicle` and `fiducial`; picks' names are upper-cased but these two. A first hit labelled 4V94 or
    vesicle is background, and so are labels the challenge does not know, which stop the organisers' script.
    A truth named 4V94_fixed, as the later release has it, is a 4V94.

    Worked: truths 1BXN at x, y, z = 2, 2, 2, 4V94 at 6, 2, 2, vesicle at 2, 6, 2, of one voxel each. Picks: 1bxn at
    2 2 2, 1bxn at 6 2 2, 1bxn at 6 6 6. TP 1, FP 1, FN 0, RR 3, precision 1/3; n = 3 - 1 = 2, so recall 1/2, miss rate
    1/2 and F1 2 / (3 + 2); F1 of 1BXN 1.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
        MaskTooSmallError: if a pick, clipped to 0..511, lies beyond the mask.
    """
    score, _ = _score_kept(pick_names, pick_positions, truth, occupancy_mask)
    vesicles = _canonical(truth).names.count(VESICLE)
    return replace(score, truths=score.truths + vesicles, uncounted=vesicles)


def score_2021_clean(
    *,
    pick_names: Sequence[str],
    pick_positions: NDArray[np.float64],
    truth: Truth,
    occupancy_mask: NDArray[np.integer[Any]],
) -> ShrecScore:
    """Score picks by `shrec2021-clean`: as `score_2021`, but what is skipped is skipped on both sides.

    Picks on a 4V94 or a vesicle leave RR too, and n = TP + FN.

    Worked: the case of `score_2021` has RR 2, precision 1/2, n = 1, recall 1, F1 2/3.

    pick_positions: `(n, 3) float64, zyx, voxels`, in file order. occupancy_mask: `(D, H, W), zyx`, not dilated.

    Raises:
        ValueError: if names and positions differ in number or the mask holds a number beyond the truth.
        MaskTooSmallError: if a pick, clipped to 0..511, lies beyond the mask.
    """
    score, on_excluded = _score_kept(pick_names, pick_positions, truth, occupancy_mask)
    return replace(score, picks=score.picks - on_excluded)


def _score_kept(
    names: Sequence[str], positions: NDArray[np.float64], truth: Truth, mask: NDArray[np.integer[Any]]
) -> tuple[ShrecScore, int]:
    """Return the score over the truths that are not excluded, and how many picks lie on those that are."""
    check(names, positions, truth, mask)
    truth = _canonical(truth)
    spelled = [name if name in CLASSES_2021 else name.upper() for name in names]
    picks = PlacedPicks.place(spelled, positions, shift=(0, 0, 0), low=(0, 0, 0), high=(LAST, LAST, LAST))
    if np.any(beyond := picks.voxels >= mask.shape):
        pick = int(np.flatnonzero(beyond.any(axis=1))[0])
        z, y, x = picks.voxels[pick].tolist()
        depth, height, width = mask.shape
        raise MaskTooSmallError(f"pick {pick + 1} lies at x y z = {x} {y} {z}, the mask has {width}x{height}x{depth}")
    numbers = dilated_at(mask, picks.voxels)
    kept = np.array([name not in EXCLUDED for name in truth.names], bool)
    classes = with_others(tuple(name for name in CLASSES_2021 if name not in EXCLUDED), np.array(truth.names)[kept])
    unknown = tuple(
        name for name, spelling in zip(names, spelled, strict=True) if spelling not in (*classes, *EXCLUDED)
    )
    warnings = unknown_names((), unknown)
    score = score_first_hits(picks, numbers, truth, classes, kept=kept, warnings=warnings)
    return score, int(np.sum((numbers > 0) & ~np.append(kept, True)[numbers - 1]))


def _canonical(truth: Truth) -> Truth:
    """Return the truth with its classes as the challenge spells them."""
    names = (name.lower() if name.lower() in CLASSES_2021 else name.upper() for name in truth.names)
    return replace(truth, names=tuple(UNLISTED if name == "4V94_FIXED" else name for name in names))
