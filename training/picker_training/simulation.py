"""Simulation: the scenes of a preset as folders in the SHREC layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import UsageError
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth
from picker_training.device import choose_device
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES, Preset
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.specimen import Placements
from picker_training.simulator.templates import load_templates


def find_preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        UsageError: E80 if there is none.
    """
    if name not in PRESETS:
        raise UsageError(80, f"--preset {name}", "no such preset", f"give one of {', '.join(PRESETS)}")
    return PRESETS[name]


def write_scenes(
    preset: str,
    templates: Path,
    folder: Path,
    *,
    seeds: Sequence[int] | None = None,
    snrs: Sequence[float] | None = None,
    device: str = "auto",
) -> Iterator[Path]:
    """Simulate scenes and yield each `model_SEED_snrSNR` folder once it is complete."""
    chosen = find_preset(preset)
    target = choose_device(device)
    classes = load_templates(templates, SHREC2020_CLASSES)
    strangers = load_templates(templates, chosen.strangers)
    for seed in seeds or chosen.seeds:
        scene = simulate(chosen.spec, classes, seed, strangers=strangers, device=target)
        for snr in snrs or chosen.snrs:
            path = folder / f"model_{seed}_snr{snr:g}"
            write_scene(path, scene, snr)
            yield path


def write_scene(folder: Path, scene: Scene, snr: float) -> None:
    """Write one scene at one SNR: tomogram, masks and particle list."""
    placed = scene.placements
    class_numbers = np.concatenate([[0], placed.class_ids + 1]).astype(np.int16)
    write_truth(
        folder,
        truth_of(scene),
        voxel_size=scene.voxel_size,
        volumes={
            "reconstruction": scene.tomogram(snr),
            "occupancy_mask": scene.occupancy,
            "class_mask": class_numbers[scene.occupancy],
        },
        angles=zxz_angles(placed),
    )


def truth_of(scene: Scene) -> Truth:
    """Return the particles of a scene of the SHREC 2020 classes."""
    placed = scene.placements
    return Truth(names=tuple(SHREC2020_CLASSES[c] for c in placed.class_ids), positions=placed.positions)


def zxz_angles(placements: Placements) -> NDArray[np.float64]:
    """Return Euler angles `(n, 3)` in degrees: rotate about z by the first, x by the second, z by the third.

    The angles (a, b, c) satisfy R = Rz(c) Rx(b) Rz(a) for column vectors in x, y, z order.
    """
    r = placements.rotations[:, ::-1, ::-1]  # zyx to xyz
    b = np.arccos(np.clip(r[:, 2, 2], -1.0, 1.0))
    upright = np.hypot(r[:, 2, 0], r[:, 2, 1]) < 1e-9  # z stays z: only a + c or a - c counts, so let a be 0
    a = np.where(upright, 0.0, np.arctan2(r[:, 2, 0], r[:, 2, 1]))
    c = np.where(upright, np.arctan2(r[:, 1, 0], r[:, 0, 0]), np.arctan2(r[:, 0, 2], -r[:, 1, 2]))
    angles: NDArray[np.float64] = np.rad2deg(np.stack([a, b, c], axis=1)) + 0.0
    return angles
