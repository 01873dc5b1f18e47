"""A pool of simulated scenes on disk: made on first use, read in crops, each a function of (seed, number) alone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from picker_runtime.atomic import atomic_writer
from picker_runtime.geometry import Box, Triple
from picker_runtime.intensity import measure_array
from picker_training.augmentation import CLIP, Augmentation, Sample, draw_start, happens, outside, within_crop
from picker_training.simulator.presets import training_spec
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.templates import Template
from picker_training.warping import Warp, draw_warp

SAMPLE_VOXELS = 65_536


@dataclass(frozen=True, kw_only=True)
class StoredScene:
    """A scene as the pool keeps it.

    volumes: `(2, d, h, w) float16`, mapped from disk: signal (its particles' part of unit variance) and unit noise.
    sample_signal, sample_noise: values of both at the same random voxels, for the statistics of any mixture.
    positions: `(n, 3) float64, zyx, voxels`; class_ids: `(n,) int32`.
    """

    volumes: NDArray[np.float16]
    sample_signal: NDArray[np.float32]
    sample_noise: NDArray[np.float32]
    positions: NDArray[np.float64]
    class_ids: NDArray[np.int32]

    @property
    def shape(self) -> Triple:
        """Edges of the volumes."""
        _, d, h, w = self.volumes.shape
        return d, h, w

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        """Cut a crop at a random place, add noise, perhaps warp both and normalise it.

        What of it lies beyond the scene's faces is reflected, signal and noise; a warped crop's noise never is, since
        the faces are not at its own any more.
        """
        crop = augmentation.crop
        start = draw_start(Box.whole(self.shape), self._centre(augmentation, rng), augmentation, rng)
        snr = float(np.exp(rng.uniform(*np.log(augmentation.snr))))
        scale = np.float32(snr**-0.5)
        warp = draw_warp(augmentation, rng) if happens(augmentation.warp_probability, rng) else None
        signal = warp.cut(self.read_signal, start) if warp else self.read_signal(start, crop)
        cube = signal + scale * (self._warped_noise(warp, start, rng) if warp else self.read_noise(start, crop, rng))
        values = self.sample_signal + scale * self.sample_noise
        if rng.random() < augmentation.int8_probability:
            step = float(values.std()) / rng.uniform(8.0, 42.0)
            cube, values = np.clip(np.round(cube / step), -128, 127), np.clip(np.round(values / step), -128, 127)
        intensity = measure_array(values)
        positions = warp.move(self.positions - start) if warp else self.positions - start
        inside = within_crop(positions, crop)
        return Sample(
            cube=np.clip((cube - intensity.center) / intensity.scale, -CLIP, CLIP).astype(np.float32),
            positions=positions[inside].astype(np.float32),
            class_ids=self.class_ids[inside].astype(np.int64),
            unknown=warp.outside(start, self.shape) if warp else self._beyond(start, augmentation),
        )

    def _centre(self, augmentation: Augmentation, rng: np.random.Generator) -> NDArray[np.float64] | None:
        """Draw by chance a particle to cut a crop around, each class as often."""
        if not len(self.positions) or not happens(augmentation.balanced_probability, rng):
            return None
        return np.asarray(rng.choice(self.positions[self.class_ids == rng.choice(np.unique(self.class_ids))]))

    def _beyond(self, start: NDArray[np.int64], augmentation: Augmentation) -> NDArray[np.bool_] | None:
        """Tell which voxels of a crop lie outside the scene; None if that is in the halo alone."""
        whole, (z, y, x), crop = Box.whole(self.shape), start.tolist(), augmentation.crop
        box = Box((z, y, x), (z + crop, y + crop, x + crop))
        core = box.grown(-augmentation.halo)
        return None if whole.intersection(core) == core else outside(whole, box)

    def _warped_noise(self, warp: Warp, start: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """Return noise that lacks the same directions as the signal warped with it, and is as strong as it was."""
        deviations = []

        def read(at: NDArray[np.int64], edge: int) -> NDArray[np.float32]:
            noise = self.read_noise(self._inside(at, edge), edge, rng)
            deviations.append(noise.std())
            return noise

        noise = warp.cut(read, start)
        return noise * np.float32(deviations[0] / noise.std())  # splines blur it

    def _inside(self, start: NDArray[np.int64], crop: int) -> NDArray[np.int64]:
        """Return the start of the crop moved inside the scene, as far as it fits."""
        return np.clip(start, 0, np.maximum(np.array(self.shape) - crop, 0))

    def read_signal(self, start: NDArray[np.int64], crop: int) -> NDArray[np.float32]:
        """Return a cube of the signal; what lies outside the scene is reflected, as the runtime does."""
        return self._read(0, [place for _, place in self._places(start, crop)])

    def read_noise(self, start: NDArray[np.int64], crop: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return the noise of a cube, from any place of the scene's and perhaps flipped.

        It is reflected where the signal of the cube at `start` is: at a face a tomogram's noise has a mirror image.
        """
        index = []
        for length, place in self._places(start, crop):
            first, last = int(place.min()), int(place.max())
            begin = int(rng.integers(0, length - (last - first)))
            index.append(begin + (place - first if rng.random() < 0.5 else last - place))
        return self._read(1, index)

    def _places(self, start: NDArray[np.int64], crop: int) -> list[tuple[int, NDArray[np.int64]]]:
        """Return the length of each axis and where a cube's voxels lie on it, those outside the scene reflected."""
        return [(n, reflected(np.arange(s, s + crop), n)) for s, n in zip(start.tolist(), self.shape, strict=True)]

    def _read(self, which: int, index: list[NDArray[np.int64]]) -> NDArray[np.float32]:
        low = [int(i.min()) for i in index]
        box = tuple(slice(a, int(i.max()) + 1) for a, i in zip(low, index, strict=True))
        part = np.asarray(self.volumes[which][box], np.float32)
        for axis, (first, places) in enumerate(zip(low, index, strict=True)):
            if not np.array_equal(places, np.arange(first, first + part.shape[axis])):
                part = np.take(part, places - first, axis)
        return part


def reflected(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return indices folded back into 0..length-1 without repeating the edge voxel (numpy's "reflect")."""
    period = max(2 * (length - 1), 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(index)


class ScenePool:
    """Scenes `0 .. size-1` of one seed in a folder; a missing one is simulated when it is first asked for."""

    def __init__(
        self,
        folder: Path,
        *,
        size: int,
        seed: int,
        templates: list[Template],
        strangers: list[Template],
        voxel_size: float,
        device: torch.device,
    ) -> None:
        self.folder = folder
        self.size = size
        self.seed = seed
        self.templates = templates
        self._strangers = strangers
        self._voxel_size = voxel_size
        self._device = device
        folder.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, number: int) -> StoredScene:
        """Return a scene, simulating it on first use."""
        path = self.folder / f"{self.seed}_{number:05d}"
        if not path.with_suffix(".npz").exists():
            spec = training_spec(np.random.default_rng((self.seed, number)), voxel_size=self._voxel_size)
            scene_seed = int(np.random.default_rng((self.seed, number, 1)).integers(2**62))
            scene = simulate(spec, self.templates, scene_seed, strangers=self._strangers, device=self._device)
            store_scene(scene, path, np.random.default_rng((self.seed, number, 2)))
        return load_scene(path)


def store_scene(scene: Scene, path: Path, rng: np.random.Generator) -> None:
    """Write a scene as the pool keeps it: the volumes, then the facts; a scene whose facts are there is complete."""
    scale = 1.0 / scene.signal_variance**0.5  # float16 holds values near 1 best
    volumes = torch.stack([scene.signal * scale, scene.noise]).to(torch.float16).cpu().numpy()
    index = rng.integers(0, volumes[0].size, SAMPLE_VOXELS)
    with atomic_writer(path.with_suffix(".npy"), "wb") as file:
        np.save(file, volumes)
    with atomic_writer(path.with_suffix(".npz"), "wb") as file:
        np.savez(
            file,
            sample_signal=volumes[0].reshape(-1)[index].astype(np.float32),
            sample_noise=volumes[1].reshape(-1)[index].astype(np.float32),
            positions=scene.placements.positions,
            class_ids=scene.placements.class_ids,
        )


def load_scene(path: Path) -> StoredScene:
    """Read a scene that `store_scene` wrote; its volumes are mapped."""
    with np.load(path.with_suffix(".npz")) as facts:
        return StoredScene(
            volumes=np.load(path.with_suffix(".npy"), mmap_mode="r"),
            sample_signal=facts["sample_signal"],
            sample_noise=facts["sample_noise"],
            positions=facts["positions"],
            class_ids=facts["class_ids"],
        )
