"""Annotated tomograms: files whose particles are known, cut into samples for training or read for validation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box, Triple
from picker_runtime.intensity import Intensity, measure
from picker_runtime.settings import ByteSign
from picker_runtime.tomogram import Tomogram
from picker_training.augmentation import CLIP, Augmentation, Sample, draw_start, outside, within_crop

CROP_TRIES = 8
MOSTLY = 0.8
"""A crop more of which is unknown than this is drawn again, a few times."""

ANY_VOXEL_SIZE = 1.0
"""Claimed where voxels are read for themselves, so that no header is refused for its voxel size."""


@dataclass(frozen=True, kw_only=True)
class AnnotatedVolume:
    """A volume in memory with its truth, for validation, thresholds and the halo.

    volume: `(d, h, w) float32`, particles dark. positions: `(n, 3) float64, zyx, voxels`. class_ids: `(n,) int32`.
    unknown: `(d, h, w) bool`, where particles are not listed, or ignored; None for nowhere.
    intensity: of the tomogram that it is cut out of, as at detection; None for its own.
    """

    volume: NDArray[np.float32]
    voxel_size: float
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    unknown: NDArray[np.bool_] | None = None
    intensity: Intensity | None = None

    def judges(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which positions `(n, 3) zyx, voxels` lie where every particle is listed."""
        if self.unknown is None:
            return np.ones(len(positions), np.bool_)
        last = np.array(self.volume.shape) - 1
        known: NDArray[np.bool_] = ~self.unknown[tuple(np.clip(np.rint(positions).astype(np.intp), 0, last).T)]
        return known


@dataclass(frozen=True, kw_only=True)
class AnnotatedTomogram:
    """A tomogram on disk with what is known to be in it.

    voxel_size: angstrom, claimed for the file. intensity: of the whole file, as at detection.
    known: the part of the file in which every particle of the classes is listed or ignored.
    positions: `(n, 3) float64, zyx, voxels of the file`. class_ids: `(n,) int32`.
    ignored: `(m, 4) float64, z y x and radius, voxels of the file`, balls in which nothing is learnt.
    distractors: `(k, 3) float64, zyx, voxels of the file`, what is to be told from particles; seen as often as a class.
    unlabelled: a mask of the tomogram's shape, not zero where nothing is learnt; None for none.
    invert: particles are bright in the file. mode0: how its bytes are read; None: as its flag says.
    """

    path: Path
    voxel_size: float
    intensity: Intensity
    known: Box
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    ignored: NDArray[np.float64]
    distractors: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    unlabelled: Path | None = None
    invert: bool = False
    mode0: ByteSign | None = None

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        """Cut a crop at a random place, perhaps around a particle, and normalise it."""
        crop = augmentation.crop
        for _ in range(CROP_TRIES):
            start = draw_start(self.known, self._centre(augmentation, rng), augmentation, rng)
            z, y, x = start.tolist()
            box = Box((z, y, x), (z + crop, y + crop, x + crop))
            unknown = self._unknown(box, margin=augmentation.halo)
            if unknown is None or unknown.mean() < MOSTLY:
                break
        scale = -self.intensity.scale if self.invert else self.intensity.scale
        cube = np.clip((_read(self.path, box, self.mode0) - self.intensity.center) / scale, -CLIP, CLIP)
        positions = self.positions - start
        inside = within_crop(positions, crop)
        ignored = self.ignored - np.append(start, 0.0)
        reach = ignored[:, 3:]
        touching = np.all((ignored[:, :3] > -reach) & (ignored[:, :3] < crop + reach), axis=1)
        return Sample(
            cube=np.nan_to_num(cube, nan=0.0).astype(np.float32),
            positions=positions[inside].astype(np.float32),
            class_ids=self.class_ids[inside].astype(np.int64),
            ignored=ignored[touching].astype(np.float32),
            unknown=unknown,
        )

    def _centre(self, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """Draw by chance a particle to cut a crop around, each class and the distractors as often."""
        kinds = [self.positions[self.class_ids == kind] for kind in np.unique(self.class_ids)]
        kinds += [self.distractors] if len(self.distractors) else []
        near = kinds and rng.random() < augmentation.near_probability
        return np.asarray(rng.choice(kinds[rng.integers(len(kinds))])) if near else None

    def volume(self, part: Box) -> AnnotatedVolume:
        """Read a part of the known part with the particles whose centres lie in it."""
        values, intensity = _read(self.path, part, self.mode0), self.intensity
        if self.invert:
            values, intensity = -values, replace(intensity, center=-intensity.center)
        positions = self.positions - part.start
        inside = Box.whole(part.shape).contains(positions)
        volume = AnnotatedVolume(
            volume=values,
            voxel_size=self.voxel_size,
            positions=positions[inside],
            class_ids=self.class_ids[inside],
            unknown=self._unjudged(part),
            intensity=intensity,
        )
        judged = volume.judges(volume.positions)
        return replace(volume, positions=volume.positions[judged], class_ids=volume.class_ids[judged])

    def _unjudged(self, part: Box) -> NDArray[np.bool_] | None:
        """Tell in which voxels of a part a pick is neither right nor wrong."""
        unknown = self._unknown(part, margin=0)
        if not len(self.ignored):
            return unknown
        ignored = balls(self.ignored - np.append(part.start, 0.0), part.shape)
        return ignored if unknown is None else unknown | ignored

    def _unknown(self, box: Box, *, margin: int) -> NDArray[np.bool_] | None:
        """Tell in which voxels of a box particles are not listed; None if in all but its margin they are."""
        core = box.grown(-margin)
        if self.unlabelled is None and self.known.intersection(core) == core:
            return None
        unknown = outside(self.known, box)
        if self.unlabelled is not None:
            unknown |= np.nan_to_num(_read(self.unlabelled, box)) != 0
        return unknown


def balls(places: NDArray[np.float64], shape: Triple) -> NDArray[np.bool_]:
    """Tell which voxels of a volume lie in one of the balls `(m, 4) float64, z y x and radius, voxels`."""
    inside = np.zeros(shape, np.bool_)
    for *centre, radius in places.tolist():
        spans = [
            np.arange(max(math.ceil(c - radius), 0), min(math.floor(c + radius) + 1, n))
            for c, n in zip(centre, shape, strict=True)
        ]
        grid = np.ix_(*spans)
        inside[grid] |= sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True)) <= radius**2
    return inside


def _read(path: Path, box: Box, mode0: ByteSign | None = None) -> NDArray[np.float32]:
    with Tomogram.open(path, voxel_size=ANY_VOXEL_SIZE, mode0=mode0) as tomogram:
        return tomogram.read(box)


def annotate(
    path: Path,
    *,
    voxel_size: float,
    known: Box,
    names: Sequence[str],
    positions: NDArray[np.float64],
    classes: Sequence[str],
    ignored: NDArray[np.float64],
    mode0: ByteSign | None = None,
) -> AnnotatedTomogram:
    """Measure a tomogram and join it with its particles; those of names that are no class must be ignored already.

    names: class of each position, `(n, 3) float64, zyx, voxels of the file`.
    """
    with Tomogram.open(path, voxel_size=voxel_size, mode0=mode0) as tomogram:
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
        mode0=mode0,
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
