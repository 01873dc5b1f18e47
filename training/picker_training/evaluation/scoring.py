"""Scores of files: a picks file against a truth folder in SHREC layout."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from picker_runtime.bundle import Bundle
from picker_runtime.errors import InputError, UsageError
from picker_runtime.formats import NamedPick, read_named_picks
from picker_training.datasets.shrec import read_occupancy_mask, read_truth, read_voxel_size
from picker_training.datasets.truth import Truth
from picker_training.evaluation import distance, shrec


def score_shrec2020(picks_file: Path, truth_folder: Path, z_frame: shrec.ZFrame) -> shrec.ShrecScore:
    """Score by `shrec.score_2020`; the picks count in file order.

    Raises:
        InputError: E44, if the picks cannot be read or are of several tomograms; E46, if the truth cannot be read.
    """
    picks = _read_one_tomogram(picks_file)
    truth = read_truth(truth_folder)
    return shrec.score_2020(
        pick_names=[pick.name for pick in picks],
        pick_positions=np.array([pick.position for pick in picks], np.float64).reshape(-1, 3),
        truth=truth,
        occupancy_mask=read_occupancy_mask(truth_folder, truth),
        z_frame=z_frame,
    )


def score_distance(
    picks_file: Path,
    truth_folder: Path,
    *,
    diameters_angstrom: Mapping[str, float],
    model: str | Path,
    voxel_size: float | None = None,
) -> distance.DistanceScore:
    """Score by `distance.score`; picks without scores count in file order.

    diameters_angstrom: by class; the model's card gives those that are missing.
    voxel_size: angstrom; None: as the truth's occupancy mask says.

    Raises:
        InputError: E44, if the picks cannot be read or are of several tomograms; E46, if the truth cannot be read; E31
            or E32, if its mask states no usable voxel size.
        ModelError: E50 to E53, if the model is needed and cannot be used.
        UsageError: E80, if a class of the truth has no diameter.
    """
    picks = _read_one_tomogram(picks_file)
    truth = read_truth(truth_folder)
    angstrom = _complete(diameters_angstrom, truth, model)
    size = voxel_size or read_voxel_size(truth_folder)
    return distance.score(
        np.array([pick.position for pick in picks], np.float64).reshape(-1, 3),
        [pick.name for pick in picks],
        np.array([pick.score for pick in picks], np.float64),
        truth,
        {name: value / size for name, value in angstrom.items()},
    )


def _read_one_tomogram(path: Path) -> list[NamedPick]:
    picks = read_named_picks(path)
    if len(tomograms := sorted({pick.tomogram for pick in picks})) > 1:
        problem = f"picks of {len(tomograms)} tomograms: {', '.join(tomograms[:3])}"
        raise InputError(44, path.name, problem, "give the file of one tomogram")
    return picks


def _complete(angstrom: Mapping[str, float], truth: Truth, model: str | Path) -> dict[str, float]:
    """Return a diameter for every class of the truth, the model opened only if it must be asked."""
    complete = dict(angstrom)
    if not complete.keys() >= set(truth.classes):
        complete = {known.name: known.diameter_angstrom for known in Bundle.open(model).card.classes} | complete
    if missing := sorted(set(truth.classes) - complete.keys()):
        fix = " ".join(f"--diameter {name}=ANGSTROM" for name in missing)
        raise UsageError(80, "--diameter", f"no diameter for {', '.join(missing)} of the truth", f"add {fix}")
    return complete
