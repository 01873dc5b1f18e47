"""A data set in SHREC layout that takes no simulation: balls in noise, another number of them in every tomogram."""

from pathlib import Path

import numpy as np
from golden.blob_graph import scattered, volume_with_blobs
from numpy.typing import NDArray
from training.phantoms import CLASSES

from picker_training.config import AnnotatedSection
from picker_training.datasets.annotated import balls
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth

SHAPE = (32, 40, 48)
RADIUS = 3.0
COUNTS = {"model_0": 12, "model_1": 9, "model_2": 6}
ANNOTATED = AnnotatedSection(validation="model_1", held_out=("model_2",))


def write_set(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Write the tomograms of `COUNTS`; return the places of their particles, `(n, 3) zyx, voxels`, by tomogram."""
    return {name: _write(folder / name, count) for name, count in COUNTS.items()}


def _write(folder: Path, count: int) -> NDArray[np.float64]:
    places = np.round(scattered(SHAPE, count=count, apart=8, margin=4, seed=count), 1)
    occupancy = np.zeros(SHAPE, np.int16)
    for number, place in enumerate(places, start=1):
        occupancy[balls(np.array([[*place, RADIUS]]), SHAPE)] = number
    kinds = tuple(CLASSES[i % len(CLASSES)] for i in range(len(places)))
    volumes = {"reconstruction": volume_with_blobs(SHAPE, places, dark=True, seed=count), "occupancy_mask": occupancy}
    write_truth(folder, Truth(names=kinds, positions=places), voxel_size=10.0, volumes=volumes)
    return places
