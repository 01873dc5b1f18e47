"""Augmentation: how one crop of a tomogram becomes a training sample."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training sample.

    cube: `(d, h, w) float32`, normalised voxels. positions: `(p, 3) float32, zyx, voxels of the cube`.
    class_ids: `(p,) int64`.
    ignored: `(m, 4) float32, z y x and radius, voxels of the cube`, balls in which nothing is learnt.
    """

    cube: NDArray[np.float32]
    positions: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What varies from sample to sample; probabilities in 0..1, `snr` is log-uniform in its range."""

    crop: int = 96
    halo: int = 8
    snr: tuple[float, float] = (0.02, 0.4)
    turn_probability: float = 0.15
    int8_probability: float = 0.15
    mirror: bool = True


class SampleSource(Protocol):
    """What samples are cut from: a simulated scene or an annotated tomogram."""

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        """Cut a crop at a random place and normalise it; it may reach beyond the faces by the halo."""
        ...


def make_sample(source: SampleSource, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Cut a crop, mirror it along each axis by chance and turn it now and then."""
    return _turned(source.cut(augmentation, rng), augmentation, rng)


def within_crop(positions: NDArray[np.floating], crop: int) -> NDArray[np.bool_]:
    """Tell which positions `(p, 3), zyx, voxels of the crop` lie in a crop or so near that its cells see them."""
    inside: NDArray[np.bool_] = np.all((positions > -3.0) & (positions < crop + 2.0), axis=1)
    return inside


def _turned(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Mirror along each axis by chance; turn by 90 degrees about z now and then (the missing wedge turns along)."""
    cube, points = sample.cube, np.vstack([sample.positions, sample.ignored[:, :3]])
    last = cube.shape[0] - 1
    flips = rng.random(3) < 0.5
    for axis in range(3):
        if augmentation.mirror and flips[axis]:
            cube = np.flip(cube, axis)
            points = np.where(np.arange(3) == axis, last - points, points)
    if rng.random() < augmentation.turn_probability:
        cube = cube.transpose(0, 2, 1)
        points = points[:, [0, 2, 1]]
    positions, centres = np.split(points.astype(np.float32), [len(sample.positions)])
    return replace(
        sample,
        cube=np.ascontiguousarray(cube),
        positions=positions,
        ignored=np.hstack([centres, sample.ignored[:, 3:]]),
    )
