"""Augmentation: how one crop of a tomogram becomes a training sample."""

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from picker_runtime.geometry import Box

CLIP = 5.0
"""Normalised voxel values are clipped to plus and minus this."""

ERASED = (0.1, 0.3)
"""Range of an erased box's edges, in parts of the crop's."""

CENTRED = (0.2, 0.8)
"""Range of the place of the particle that a crop is cut around, in parts of the crop's edge."""

FILL = 7
"""Voxels past the end of a volume that detection reflects, to fill a cube whose edges are multiples of 8."""

MIXED = (0.4, 0.6)
"""Range of the part of a mixed sample that comes from its first one: both stay visible."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training sample.

    cube: `(d, h, w) float32`, normalised voxels. positions: `(p, 3) float32, zyx, voxels of the cube`.
    class_ids: `(p,) int64`.
    ignored: `(m, 4) float32, z y x and radius, voxels of the cube`, balls in which nothing is learnt.
    unknown: `(d, h, w) bool`, voxels in which nothing is learnt; None for none.
    """

    cube: NDArray[np.float32]
    positions: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    ignored: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    unknown: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How samples are cut and what varies between them; probabilities in 0..1, `snr` is log-uniform in its range.

    halo: voxels along a crop's faces in which nothing is learnt; cubes then reach so far beyond a volume's faces.
    half_turns: about the three axes, each as often as none. turn_probability: of a turn by 90 degrees about z.
    mirror: half of the samples are mirror images, which no tomogram shows. int8_probability: of storage as bytes, of
    scenes.
    near_probability: of a crop of an annotated tomogram around a particle or distractor of a kind drawn evenly.
    balanced_probability: of a crop of a scene around a particle of a class drawn evenly.
    warp_probability: of a scene turned about z by up to spin_degree, tilted about y and x by up to tilt_degree
    and scaled by up to `scale` either way.
    erase_probability: of a box whose voxels are shuffled. mix_probability: of another sample added to it.
    """

    crop: int = 96
    halo: int = 0
    snr: tuple[float, float] = (0.02, 0.4)
    turn_probability: float = 0.15
    int8_probability: float = 0.15
    half_turns: bool = True
    mirror: bool = True
    near_probability: float = 0.5
    balanced_probability: float = 0.0
    warp_probability: float = 0.0
    spin_degree: float = 0.0
    tilt_degree: float = 0.0
    scale: float = 0.0
    erase_probability: float = 0.0
    mix_probability: float = 0.0


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Draw whether something happens; what never does leaves the generator as it was."""
    return probability > 0 and float(rng.random()) < probability


def draw_start(
    part: Box, around: NDArray[np.floating] | None, augmentation: Augmentation, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the first voxel zyx of a crop of a volume's part that is to be learnt.

    It reaches beyond the part by the halo at most and, at its end, by `FILL`. around: a position zyx that is to lie
    well within the crop; None for anywhere.
    """
    low = np.array(part.start) - augmentation.halo
    high = np.maximum(np.array(part.stop) + augmentation.halo + FILL - augmentation.crop, low)
    if around is None:
        return rng.integers(low, high + 1)
    start = np.rint(around - augmentation.crop * rng.uniform(*CENTRED, 3)).astype(np.int64)
    return np.clip(start, low, high)


def outside(part: Box, box: Box) -> NDArray[np.bool_]:
    """Tell which voxels of a box lie outside a part of the volume."""
    beyond = np.ones(box.shape, np.bool_)
    beyond[part.intersection(box).slices_in(box)] = False
    return beyond


class SampleSource(Protocol):
    """What samples are cut from: a simulated scene or an annotated tomogram."""

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        """Cut a crop at a random place, as `draw_start` says, and normalise it."""
        ...


def make_sample(source: SampleSource, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Cut a crop, turn and mirror it by chance; perhaps erase a part."""
    sample = _turned(source.cut(augmentation, rng), augmentation, rng)
    return erased(sample, rng) if happens(augmentation.erase_probability, rng) else sample


def within_crop(positions: NDArray[np.floating], crop: int) -> NDArray[np.bool_]:
    """Tell which positions `(p, 3), zyx, voxels of the crop` lie in a crop or so near that its cells see them."""
    inside: NDArray[np.bool_] = np.all((positions > -3.0) & (positions < crop + 2.0), axis=1)
    return inside


def _turned(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Turn by 180 degrees, now and then by 90 about z (the missing wedge turns along), and mirror, by chance."""
    unknown = [] if sample.unknown is None else [sample.unknown]
    volumes: list[NDArray[Any]] = [sample.cube, *unknown]
    points = np.vstack([sample.positions, sample.ignored[:, :3]])
    last = sample.cube.shape[0] - 1
    flips = (rng.random(3) < 0.5) & augmentation.half_turns
    swap = rng.random() < augmentation.turn_probability
    if not augmentation.mirror and (flips.sum() + swap) % 2:
        flips[1] ^= True  # an even number of reflections is a rotation
    for axis in np.flatnonzero(flips).tolist():
        volumes = [np.flip(volume, axis) for volume in volumes]
        points = np.where(np.arange(3) == axis, last - points, points)
    if swap:
        volumes = [volume.transpose(0, 2, 1) for volume in volumes]
        points = points[:, [0, 2, 1]]
    positions, centres = np.split(points.astype(np.float32), [len(sample.positions)])
    return replace(
        sample,
        cube=np.ascontiguousarray(volumes[0]),
        positions=positions,
        ignored=np.hstack([centres, sample.ignored[:, 3:]]),
        unknown=np.ascontiguousarray(volumes[1]) if unknown else None,
    )


def erased(sample: Sample, rng: np.random.Generator) -> Sample:
    """Shuffle the voxels of a box, `ERASED` of the crop's edges long; particles centred in it are gone."""
    shape = np.array(sample.cube.shape)
    size = np.maximum(np.rint(shape * rng.uniform(*ERASED, 3)).astype(int), 1)
    start = rng.integers(0, shape - size + 1)
    box = tuple(slice(a, a + n) for a, n in zip(start.tolist(), size.tolist(), strict=True))
    cube = sample.cube.copy()
    cube[box] = rng.permutation(cube[box].reshape(-1)).reshape(cube[box].shape)
    gone = np.all((sample.positions > start - 0.5) & (sample.positions < start + size - 0.5), axis=1)
    return replace(sample, cube=cube, positions=sample.positions[~gone], class_ids=sample.class_ids[~gone])


def mixed(one: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Add two samples in like parts, scaled so that noise keeps its variance; both's particles are told."""
    part = np.float32(rng.uniform(*MIXED))
    cube = (part * one.cube + (1 - part) * other.cube) / np.hypot(part, 1 - part)
    masks = [sample.unknown for sample in (one, other) if sample.unknown is not None]
    return Sample(
        cube=np.clip(cube, -CLIP, CLIP).astype(np.float32),
        positions=np.vstack([one.positions, other.positions]),
        class_ids=np.concatenate([one.class_ids, other.class_ids]),
        ignored=np.vstack([one.ignored, other.ignored]),
        unknown=np.logical_or.reduce(masks) if masks else None,
    )
