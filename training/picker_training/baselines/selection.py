"""Selection: peaks of all classes become picks, at thresholds chosen on a tomogram whose truth is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.detections import Detections
from picker_runtime.nms import pick
from picker_training.baselines.peaks import Peaks, score_of
from picker_training.calibration import f_measure, hits
from picker_training.detectors.base import Detector

THRESHOLD_HEIGHTS: NDArray[np.float64] = np.geomspace(2.0, 40.0, 33)
"""Heights among which thresholds are chosen, a tenth apart."""

START_HEIGHT = 6.0
SWEEPS = 3


@dataclass(frozen=True, kw_only=True)
class Known:
    """Candidates of a tomogram whose truth is known.

    positions: `(n, 3) float64, zyx, voxels`, of the particles. class_ids: `(n,) intp`, of the particles.
    """

    candidates: Detections
    positions: NDArray[np.float64]
    class_ids: NDArray[np.intp]


def candidates_of(peaks: Sequence[Peaks], diameters_angstrom: Sequence[float]) -> Detections:
    """Return the peaks of all classes, scores ranked as heights are; class ids count the classes given."""
    return Detections.concatenate(
        [one.detections(number, d) for number, (one, d) in enumerate(zip(peaks, diameters_angstrom, strict=True))]
    )


def pick_at(candidates: Detections, thresholds: NDArray[np.float64], voxel_size: float) -> Detections:
    """Return the picks: at or above their class's threshold `(classes,)`, and overlapped by no better one.

    Two overlap as two of a detector do before its export has measured how near they may be.
    """
    return pick(candidates, thresholds=thresholds, fraction=Detector.nms_fraction, voxel_size=voxel_size)


def tune_thresholds(
    known: Sequence[Known],
    diameters_angstrom: NDArray[np.float64],
    voxel_size: float,
    *,
    grid: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the score thresholds `(classes,)` with the best mean of localisation F1 and mean class F1.

    The objective by which the thresholds of our own detector are chosen, by the rule `distance`. One class at a time
    over a grid, a few sweeps through all of them; each trial goes through the suppression of overlaps.
    grid: scores to choose from; None for those of the heights.
    """
    start = score_of(np.array([START_HEIGHT]))[0]
    grid = score_of(THRESHOLD_HEIGHTS) if grid is None else grid
    thresholds = np.full(len(diameters_angstrom), start)
    for _ in range(SWEEPS):
        before = thresholds.copy()
        for c in range(len(thresholds)):
            trials = np.tile(thresholds, (len(grid), 1))
            trials[:, c] = grid
            values = [sum(objective(one, trial, diameters_angstrom, voxel_size) for one in known) for trial in trials]
            thresholds[c] = grid[int(np.argmax(values))]
        if np.array_equal(before, thresholds):
            break
    return thresholds


def objective(
    known: Known, thresholds: NDArray[np.float64], diameters_angstrom: NDArray[np.float64], voxel_size: float
) -> float:
    """Return localisation F1 plus mean class F1 over the classes that have particles, by the rule `distance`."""
    picks = pick_at(known.candidates, thresholds, voxel_size)
    radii = diameters_angstrom[known.class_ids] / voxel_size / 2.0
    hit, right = hits(picks, known.positions, known.class_ids, radii)
    classes = len(thresholds)
    truths = np.bincount(known.class_ids, minlength=classes)
    rights, picked = (np.bincount(ids, minlength=classes) for ids in (picks.class_ids[right], picks.class_ids))
    by_class = f_measure(rights, picked, truths)[truths > 0]
    localisation = f_measure(int(hit.sum()), len(picks), len(known.class_ids))
    return float(localisation) + (float(by_class.mean()) if len(by_class) else 0.0)
