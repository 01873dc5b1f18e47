"""The scenes of a protocol on disk, simulated once: three kinds in one folder.

DATA/<protocol>/training/<seed>.npy .npz   a scene in parts, from which samples of any SNR are cut
DATA/<protocol>/calibration/snr<SNR>/      a tomogram with its truth in SHREC layout: thresholds are chosen on it
DATA/<protocol>/test/snr<SNR>/             the same of another scene: scores are counted on it
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from picker_runtime.geometry import Box
from picker_runtime.tomogram import Tomogram
from picker_training.benchmarking.protocol import Difficulty, Protocol
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.datasets.scenes import StoredScene, load_scene, store_scene
from picker_training.datasets.shrec import LOCATIONS, TOMOGRAM, read_truth, write_truth
from picker_training.datasets.truth import Truth
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.templates import Template, load_templates

SEED = 1
"""Of the samples, unless another is asked for."""


@dataclass(frozen=True, kw_only=True)
class TrainingScenes:
    """The training scenes of a protocol as a pool of samples."""

    folder: Path
    numbers: tuple[int, ...]
    seed: int

    @property
    def size(self) -> int:
        """Number of scenes."""
        return len(self.numbers)

    def __getitem__(self, number: int) -> StoredScene:
        """Return a scene."""
        return load_scene(self.folder / str(self.numbers[number]))


@dataclass(frozen=True, kw_only=True)
class BenchmarkScenes:
    """What a protocol's detectors learn from, are tuned on and are tested on.

    folder: of the protocol. diameters_angstrom: by class.
    """

    protocol: Protocol
    folder: Path
    diameters_angstrom: dict[str, float]

    def pool(self, seed: int = SEED) -> TrainingScenes:
        """Return the training scenes; the seed is that of the samples."""
        return TrainingScenes(folder=self.folder / "training", numbers=self.protocol.training_seeds, seed=seed)

    def calibration_folder(self, difficulty: Difficulty) -> Path:
        """Return the folder of the tomogram, in SHREC layout, on which thresholds are chosen."""
        return self.folder / "calibration" / folder_name(difficulty)

    def test_folder(self, difficulty: Difficulty) -> Path:
        """Return the folder of the tomogram, in SHREC layout, on which scores are counted."""
        return self.folder / "test" / folder_name(difficulty)

    def read(self, folder: Path) -> AnnotatedVolume:
        """Read a tomogram with its truth."""
        truth = read_truth(folder)
        classes = self.protocol.classes
        with Tomogram.open(folder / TOMOGRAM) as tomogram:
            volume = tomogram.read(Box.whole(tomogram.shape))
            voxel_size = tomogram.voxel_size
        return AnnotatedVolume(
            volume=volume,
            voxel_size=voxel_size,
            positions=truth.positions,
            class_ids=np.array([classes.index(name) for name in truth.names], np.int32),
        )


def prepare_scenes(
    protocol: Protocol,
    data: Path,
    templates: Path,
    device: torch.device,
    report: Callable[[str], None] = lambda message: None,
) -> BenchmarkScenes:
    """Simulate what is missing of a protocol's scenes; the same protocol gives the same scenes.

    Raises:
        UsageError: E84 if a class has no template.
        OutputError: E70 or E71 if the folder cannot be written.
    """
    classes = load_templates(templates, protocol.classes)
    folder = data / protocol.name
    (folder / "training").mkdir(parents=True, exist_ok=True)
    made = BenchmarkScenes(
        protocol=protocol,
        folder=folder,
        diameters_angstrom={template.name: round(template.diameter_angstrom, 1) for template in classes},
    )
    for seed in protocol.training_seeds:
        path = folder / "training" / str(seed)
        if not path.with_suffix(".npz").exists():
            report(f"simulating training scene {seed}")
            store_scene(simulate(protocol.spec, classes, seed, device=device), path, np.random.default_rng(seed))
    for seed, where in (
        (protocol.calibration_seed, made.calibration_folder),
        (protocol.test_seed, made.test_folder),
    ):
        missing = [one for one in protocol.difficulties if not (where(one) / LOCATIONS).exists()]
        if missing:
            report(f"simulating scene {seed}")
            scene = simulate(protocol.spec, classes, seed, device=device)
            for difficulty in missing:
                _write(where(difficulty), scene, difficulty.snr, classes)
    return made


def _write(folder: Path, scene: Scene, snr: float, classes: list[Template]) -> None:
    placed = scene.placements
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_truth(
        folder,
        Truth(names=tuple(classes[c].name for c in placed.class_ids), positions=placed.positions),
        voxel_size=scene.voxel_size,
        volumes={"reconstruction": scene.tomogram(snr), "occupancy_mask": scene.occupancy},
    )


def folder_name(difficulty: Difficulty) -> str:
    """Return the name of a tomogram's folder among those of its scene."""
    return f"snr{difficulty.snr:g}"
