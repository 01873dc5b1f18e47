"""Annotated tomograms: files whose particles are known, cut into samples for training or read for validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity, measure
from picker_runtime.tomogram import Tomogram
from picker_training.augmentation import Augmentation, Sample, within_crop
from picker_training.detectors.decode import CLIP

NEAR_PROBABILITY = 0.5
"""Share of the crops that are cut around a particle of a class drawn evenly, so that rare classes are seen."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedVolume:
    """A volume in memory with its truth, for validation, thresholds and the halo.

    volume: `(d, h, w) float32`. positions: `(n, 3) float64, zyx, voxels`. class_ids: `(n,) int32`.
    """

    volume: NDArray[np.float32]
    voxel_size: float
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class AnnotatedTomogram:
    """A tomogram on disk with what is known to be in it.

    voxel_size: angstrom, claimed for the file. intensity: of the whole file, as at detection.
    known: the part of the file in which every particle of the classes is listed or ignored.
    positions: `(n, 3) float64, zyx, voxels of the file`. class_ids: `(n,) int32`.
    ignored: `(m, 4) float64, z y x and radius, voxels of the file`, balls in which nothing is learnt.
    """

    path: Path
    voxel_size: float
    intensity: Intensity
    known: Box
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    ignored: NDArray[np.float64]

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        """Cut a crop at a random place, half of the time around a particle, and normalise it."""
        crop = augmentation.crop
        start = self._start(augmentation, rng)
        with Tomogram.open(self.path, voxel_size=self.voxel_size) as tomogram:
            z, y, x = start.tolist()
            values = tomogram.read(Box((z, y, x), (z + crop, y + crop, x + crop)))
        cube = np.clip((values - self.intensity.center) / self.intensity.scale, -CLIP, CLIP)
        positions = self.positions - start
        inside = within_crop(positions, crop)
        balls = self.ignored - np.append(start, 0.0)
        reach = balls[:, 3:]
        touching = np.all((balls[:, :3] > -reach) & (balls[:, :3] < crop + reach), axis=1)
        return Sample(
            cube=np.nan_to_num(cube, nan=0.0).astype(np.float32),
            positions=positions[inside].astype(np.float32),
            class_ids=self.class_ids[inside].astype(np.int64),
            ignored=balls[touching].astype(np.float32),
        )

    def _start(self, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the first voxel of a crop within the known part grown by the halo."""
        crop, halo = augmentation.crop, augmentation.halo
        low = np.array(self.known.start) - halo
        high = np.maximum(np.array(self.known.stop) + halo - crop, low)
        start: NDArray[np.int64] = rng.integers(low, high + 1)
        if len(self.class_ids) and rng.random() < NEAR_PROBABILITY:
            wanted = rng.choice(np.unique(self.class_ids))
            centre = self.positions[rng.choice(np.flatnonzero(self.class_ids == wanted))]
            start = np.clip(np.rint(centre - crop * rng.uniform(0.2, 0.8, 3)).astype(np.int64), low, high)
        return start

    def volume(self, part: Box) -> AnnotatedVolume:
        """Read a part of the known part with the particles whose centres lie in it."""
        with Tomogram.open(self.path, voxel_size=self.voxel_size) as tomogram:
            values = tomogram.read(part)
        positions = self.positions - part.start
        inside = np.all((positions >= -0.5) & (positions < np.array(part.shape) - 0.5), axis=1)
        return AnnotatedVolume(
            volume=values,
            voxel_size=self.voxel_size,
            positions=positions[inside],
            class_ids=self.class_ids[inside],
        )


def annotate(
    path: Path,
    *,
    voxel_size: float,
    known: Box,
    names: Sequence[str],
    positions: NDArray[np.float64],
    classes: Sequence[str],
    ignored: NDArray[np.float64],
) -> AnnotatedTomogram:
    """Measure a tomogram and join it with its particles; those of names that are no class must be ignored already.

    names: class of each position, `(n, 3) float64, zyx, voxels of the file`.
    """
    with Tomogram.open(path, voxel_size=voxel_size) as tomogram:
        intensity = measure(tomogram)
    wanted = np.array([name in classes for name in names], np.bool_)
    return AnnotatedTomogram(
        path=path,
        voxel_size=voxel_size,
        intensity=intensity,
        known=known,
        positions=positions[wanted],
        class_ids=np.array([classes.index(name) for name in names if name in classes], np.int32),
        ignored=ignored,
    )


@dataclass(frozen=True, kw_only=True)
class AnnotatedPool:
    """Annotated tomograms as a source of samples, all alike."""

    tomograms: tuple[AnnotatedTomogram, ...]
    seed: int

    @property
    def size(self) -> int:
        """Number of tomograms."""
        return len(self.tomograms)

    def __getitem__(self, number: int) -> AnnotatedTomogram:
        """Return a tomogram."""
        return self.tomograms[number]
