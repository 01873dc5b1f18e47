"""Augmentation: how one crop of a simulated scene becomes a training sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.intensity import measure_array
from picker_training.datasets.scenes import StoredScene
from picker_training.detectors.decode import CLIP


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training sample.

    cube: `(d, h, w) float32`, normalised voxels. positions: `(p, 3) float32, zyx, voxels of the cube`.
    class_ids: `(p,) int64`.
    """

    cube: NDArray[np.float32]
    positions: NDArray[np.float32]
    class_ids: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What varies from sample to sample; probabilities in 0..1, `snr` is log-uniform in its range."""

    crop: int = 96
    halo: int = 8
    snr: tuple[float, float] = (0.02, 0.4)
    turn_probability: float = 0.15
    int8_probability: float = 0.15
    mirror: bool = True


def make_sample(scene: StoredScene, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
    """Cut a crop at a random place, add noise, normalise and turn it.

    It may reach `halo` voxels beyond the scene's faces, where the scene is reflected.
    """
    crop, halo = augmentation.crop, augmentation.halo
    start = np.array([rng.integers(-halo, max(n + halo - crop, -halo) + 1) for n in scene.shape])
    snr = float(np.exp(rng.uniform(*np.log(augmentation.snr))))
    scale = np.float32(snr**-0.5)
    noise_flips = tuple(slice(None, None, int(rng.choice([-1, 1]))) for _ in range(3))
    shift = np.array([rng.integers(0, max(n - crop, 0) + 1) for n in scene.shape])
    cube = scene.read_signal(start, crop) + scale * scene.read_noise(shift, crop)[noise_flips]
    values = scene.sample_signal + scale * scene.sample_noise
    if rng.random() < augmentation.int8_probability:
        step = float(values.std()) / rng.uniform(8.0, 42.0)
        cube, values = np.clip(np.round(cube / step), -128, 127), np.clip(np.round(values / step), -128, 127)
    intensity = measure_array(values)
    cube = np.clip((cube - intensity.center) / intensity.scale, -CLIP, CLIP).astype(np.float32)
    positions = scene.positions - start
    inside = np.all((positions > -3.0) & (positions < crop + 2.0), axis=1)
    cube, positions = _turned(cube, positions[inside], augmentation, rng)
    return Sample(
        cube=np.ascontiguousarray(cube),
        positions=positions.astype(np.float32),
        class_ids=scene.class_ids[inside].astype(np.int64),
    )


def _turned(
    cube: NDArray[np.float32], positions: NDArray[np.float64], augmentation: Augmentation, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Mirror along each axis by chance; turn by 90 degrees about z now and then (the missing wedge turns along)."""
    last = cube.shape[0] - 1
    flips = rng.random(3) < 0.5
    for axis in range(3):
        if augmentation.mirror and flips[axis]:
            cube = np.flip(cube, axis)
            positions = np.where(np.arange(3) == axis, last - positions, positions)
    if rng.random() < augmentation.turn_probability:
        cube = cube.transpose(0, 2, 1)
        positions = positions[:, [0, 2, 1]]
    return cube, positions
