"""Anchors: the few box sizes from which `paper` tells the sizes of particles, by k-means over the classes."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import UsageError
from picker_training.config import TrainingConfig

Sizes = Mapping[str, tuple[float, int]]
"""By class: the diameter in angstrom, and how many such particles there are."""

Anchors = tuple[float, tuple[float, ...]]
"""The sum of all distances, and the anchors."""


def choose_anchors(sizes: NDArray[np.float64], counts: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Return the anchors `(number,)`, rising, that overlap the sizes `(n,)` best, weighed by their counts `(n,)`.

    The distance of two sizes is 1 - intersection over union of cubes with one centre; a cluster's anchor is its
    weighted mean. In one dimension clusters are runs of the sorted sizes: the best are found, not only approached.

    Raises:
        ValueError: if there are fewer sizes than anchors.
    """
    if len(sizes) < number:
        raise ValueError(f"{len(sizes)} sizes, expected at least as many as anchors, {number}")
    order = np.argsort(sizes)
    sizes, counts = sizes[order], counts[order]
    none: Anchors = (np.inf, ())
    best: list[Anchors] = [(0.0, ()), *[none] * len(sizes)]  # of the first n sizes
    for _ in range(number):
        extended = [none] * (len(sizes) + 1)
        for stop in range(1, len(sizes) + 1):
            runs = ((start, _anchor(sizes[start:stop], counts[start:stop])) for start in range(stop))
            extended[stop] = min(
                (best[start][0] + distance, (*best[start][1], anchor)) for start, (anchor, distance) in runs
            )
        best = extended
    return np.array(best[-1][1])


def _anchor(sizes: NDArray[np.float64], counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return the anchor of a cluster and the sum of its distances."""
    anchor = float(np.average(sizes, weights=counts))
    overlap = (np.minimum(sizes, anchor) / np.maximum(sizes, anchor)) ** 3
    return anchor, float((counts * (1.0 - overlap)).sum())


def sizes_of_templates(folder: Path, config: TrainingConfig) -> Sizes:
    """Return the diameters of the classes' templates, all as frequent.

    Raises:
        UsageError: E84 if a class has no template.
    """
    from picker_training.simulator.templates import load_templates

    return {t.name: (t.diameter_angstrom, 1) for t in load_templates(folder, config.model.classes)}


def sizes_of_data_set(folder: Path, config: TrainingConfig, *, year: int) -> Sizes:
    """Return the diameters of a data set's classes, those of spheres with their masks' mean volume, and their numbers.

    Raises:
        InputError: E46 if the data set is not readable.
    """
    from picker_training.datasets import shrec_tomograms

    annotated = shrec_tomograms.begin(folder, year=year, validation=None, held_out=())
    config = replace(config, annotated=annotated)
    volumes = shrec_tomograms.mask_volumes(config, shrec_tomograms.tomogram_names(folder))
    diameters = shrec_tomograms.mean_diameters(config, volumes)
    return {
        name: (diameters[name], sum(len(of_one.get(name, [])) for of_one in volumes.values()))
        for name in shrec_tomograms.class_names(annotated)
    }


def sizes_of_picks(paths: list[Path]) -> Sizes:
    """Return the mean diameter and the number of each class's picks.

    Raises:
        InputError: E44 if a file cannot be read.
        UsageError: E84 if a pick has no diameter.
    """
    from picker_runtime.formats import read_named_picks

    listed: dict[str, list[float]] = {}
    for path in paths:
        for pick in read_named_picks(path):
            if pick.diameter <= 0:
                fix = "give a file with diameters, for example the .csv that picker-runtime detect writes"
                raise UsageError(84, path.name, f"line {pick.line}: no diameter", fix)
            listed.setdefault(pick.name, []).append(pick.diameter)
    return {name: (float(np.mean(diameters)), len(diameters)) for name, diameters in sorted(listed.items())}
