"""Simulation: the scenes of a preset as folders in the SHREC layout."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.atomic import check_writable_folder, write_text
from picker_runtime.errors import UsageError
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth
from picker_training.device import choose_device
from picker_training.simulator.faithful.parameters import ShrecParameters
from picker_training.simulator.faithful.presets import FAITHFUL_PRESETS
from picker_training.simulator.faithful.scene import ShrecScene, describe, simulate_shrec
from picker_training.simulator.faithful.slab import bounding_boxes
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES, Preset
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.specimen import Placements
from picker_training.simulator.templates import load_templates

RECORD = "scene.json"
"""What a faithful scene was made with and how it came out, beside its volumes."""


def find_preset(name: str) -> Preset | ShrecParameters:
    """Return the preset of this name.

    Raises:
        UsageError: E80 if there is none.
    """
    known: dict[str, Preset | ShrecParameters] = {**PRESETS, **FAITHFUL_PRESETS}
    if name not in known:
        raise UsageError(80, f"--preset {name}", "no such preset", f"give one of {', '.join(known)}")
    return known[name]


def choose_seeds(preset: Preset | ShrecParameters, seeds: Sequence[int] | None, count: int | None) -> list[int]:
    """Return the scenes to make: every seed begins a run of `count` seeds, itself the first.

    Without seeds: the preset's, or a run from the first of them; that of the faithful presets is 0.
    """
    own = preset.seeds if isinstance(preset, Preset) else (0,)
    starts = list(seeds or (own if count is None else own[:1]))
    return list(dict.fromkeys(start + i for start in starts for i in range(count or 1)))


def write_scenes(
    preset: str,
    templates: Path,
    folder: Path,
    *,
    seeds: Sequence[int] | None = None,
    count: int | None = None,
    snrs: Sequence[float] | None = None,
    device: str = "auto",
    fast: bool = False,
    report: Callable[[str], None] = lambda message: None,
) -> Iterator[Path]:
    """Simulate scenes and yield each folder once it is complete.

    Folders are `model_SEED_snrSNR`, or `model_SEED` for a faithful scene at its own SNR.

    Raises:
        UsageError: E80, if there is no such preset, or `fast` is asked of one that is fast already.
    """
    chosen = find_preset(preset)
    numbers = choose_seeds(chosen, seeds, count)
    if isinstance(chosen, ShrecParameters):
        yield from _write_faithful(preset, templates, folder, numbers, snrs or (None,), device, fast, report)
        return
    if fast:
        raise UsageError(80, "--fast", f"{preset} has no slower way", "leave --fast out")
    target = choose_device(device)
    classes = load_templates(templates, SHREC2020_CLASSES)
    strangers = load_templates(templates, chosen.strangers)
    for seed in numbers:
        scene = simulate(chosen.spec, classes, seed, strangers=strangers, device=target)
        for snr in snrs or chosen.snrs:
            path = folder / f"model_{seed}_snr{snr:g}"
            write_scene(path, scene, snr)
            yield path


def _write_faithful(
    preset: str,
    templates: Path,
    folder: Path,
    seeds: Sequence[int],
    snrs: Sequence[float | None],
    device: str,
    fast: bool,
    report: Callable[[str], None],
) -> Iterator[Path]:
    parameters = FAITHFUL_PRESETS[preset]
    target = choose_device(device)
    classes = load_templates(templates, parameters.classes)
    sharp = load_templates(templates, parameters.classes, target_blur_angstrom=parameters.blur_angstrom)
    for seed in seeds:
        report(f"model_{seed}")
        scene = simulate_shrec(parameters, classes, sharp, seed, device=target, fast=fast, report=report)
        for snr in snrs:
            path = folder / (f"model_{seed}" if snr is None else f"model_{seed}_snr{snr:g}")
            write_faithful_scene(path, scene, preset, snr)
            yield path


def write_faithful_scene(folder: Path, scene: ShrecScene, preset: str, snr: float | None = None) -> None:
    """Write a faithful scene with all volumes of the SHREC layout, the open occupancy and its record."""
    occupancy = scene.population.occupancy
    numbers = np.array([0, *(scene.parameters.class_numbers[name] for name in scene.names)], np.int16)
    boxes = bounding_boxes(occupancy)
    tomogram = scene.tomogram(snr)
    angles = zxz_angles(scene.population.inside)
    check_writable_folder(folder)
    write_text(folder / RECORD, json.dumps({"preset": preset, **describe(scene, tomogram)}, indent=1) + "\n")
    write_truth(
        folder,
        Truth(names=scene.names, positions=scene.positions),
        voxel_size=scene.parameters.voxel_size_angstrom,
        volumes={
            "reconstruction": tomogram,
            "grandmodel": scene.grandmodel,
            "occupancy_mask": occupancy,
            "occupancy_mask_open": scene.opened,
            "class_mask": numbers[occupancy],
            "occupancy_bbox": boxes,
            "class_bbox": numbers[boxes],
        },
        angles=np.concatenate([angles, np.zeros((len(scene.population.extras), 3))]),
    )


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
