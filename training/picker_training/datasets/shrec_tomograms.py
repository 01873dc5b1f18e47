"""The tomograms of a data set in SHREC layout, `DIR/model_0`, `DIR/model_1` ..., as annotated tomograms."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from picker_runtime.errors import InputError, PickerError, UsageError
from picker_runtime.tomogram import MODEL_TOLERANCE, Tomogram
from picker_training.config import AnnotatedSection, TrainingConfig
from picker_training.datasets.annotated import AnnotatedTomogram, annotate
from picker_training.datasets.shrec import LOCATIONS, TOMOGRAM, find_file, order_of, read_occupancy_mask, read_truth
from picker_training.datasets.training_volume import TrainingVolume, training_volume
from picker_training.datasets.truth import Truth
from picker_training.simulator.presets import SHREC2020_CLASSES

UNTOLD_SIZE = (31, 32)
"""Codes of tomograms whose header does not tell one voxel size."""

ALIASES = {"4v94_fixed": "4v94"}
"""Names as lists of SHREC 2021 spell them, in lower case, and as they are known here."""


def tomogram_names(data_set: Path) -> list[str]:
    """Return the names of the folders with a particle list and a reconstruction, by number.

    Raises:
        InputError: E46 if there are fewer than two.
    """
    found = [folder.name for folder in data_set.iterdir() if _is_complete(folder)] if data_set.is_dir() else []
    if len(found) < 2:
        problem = f"{len(found)} folders with {LOCATIONS} and reconstruction.mrc, expected two or more"
        raise InputError(46, data_set.name, problem, "give the folder that holds model_0, model_1 ...")
    return sorted(found, key=lambda name: [int(n) for n in re.findall(r"\d+", name)] or [0])


def begin(data_set: Path, *, year: int, validation: str | None, held_out: tuple[str, ...]) -> AnnotatedSection:
    """Return the section of a configuration that trains on a data set; validation is the last one not held out.

    Raises:
        InputError: E46 if the data set is not readable.
        UsageError: E80 if a tomogram is named that is not there, or none is left to train on.
    """
    names = tomogram_names(data_set)
    for name in [*held_out, *([validation] if validation else [])]:
        if name not in names:
            raise UsageError(80, name, f"not a tomogram of {data_set.name}", f"name one of {', '.join(names)}")
    free = [name for name in names if name not in held_out]
    judge = validation or (free[-1] if free else "")
    if len(free) < 2 or judge in held_out:
        problem = f"{len(names)} tomograms, {len(held_out)} held out: one must train and another one validate"
        raise UsageError(80, "--held-out", problem, "hold out fewer")
    return AnnotatedSection(shrec=str(data_set.resolve()), year=year, validation=judge, held_out=held_out)


def class_names(annotated: AnnotatedSection) -> tuple[str, ...]:
    """Return the classes of a data set, those of SHREC 2020 in its order, then the others by name."""
    found: set[str] = set()
    for name in tomogram_names(Path(annotated.shrec)):
        found |= set(read_names(Path(annotated.shrec) / name, annotated).names)
    wanted = found - {*annotated.ignored, *annotated.background}
    known = [name for name in SHREC2020_CLASSES if name in wanted]
    return (*known, *sorted(wanted - set(known)))


def header_voxel_size(folder: Path) -> float | None:
    """Return the voxel size in the header of a folder's reconstruction, angstrom; None if it is not to be believed.

    Raises:
        InputError: if the reconstruction cannot be read.
    """
    try:
        with Tomogram.open(find_file(folder, TOMOGRAM)) as tomogram:
            return round(tomogram.voxel_size, 4)
    except InputError as error:
        if error.code in UNTOLD_SIZE:
            return None
        raise


def reconstruction(folder: Path, annotated: AnnotatedSection) -> TrainingVolume:
    """Return a folder's reconstruction with the slab that its truth covers."""
    offset = annotated.z_offset if annotated.z_offset >= 0 else None
    return training_volume(folder, year=annotated.year or None, z_offset=offset)


def read_names(folder: Path, annotated: AnnotatedSection) -> Truth:
    """Read a folder's particle list, its names in lower case."""
    truth = read_truth(folder, order=order_of(annotated.year))
    names = (name.lower() for name in truth.names)
    return Truth(names=tuple(ALIASES.get(name, name) for name in names), positions=truth.positions)


def read_tomograms(
    config: TrainingConfig, names: list[str], diameters_angstrom: Mapping[str, float]
) -> list[AnnotatedTomogram]:
    """Open tomograms of the configuration's data set, at the voxel size of its model.

    diameters_angstrom: by name in the particle lists; of the balls around ignored ones.

    Raises:
        InputError: if a folder or its reconstruction cannot be used; E30 if its header tells another voxel size.
    """
    annotated = config.annotated
    made = []
    for name in names:
        folder = Path(annotated.shrec) / name
        volume = reconstruction(folder, annotated)
        truth = volume.placed(read_names(folder, annotated))
        voxel_size = config.model.voxel_size_angstrom
        _check_voxel_size(folder, voxel_size)
        balls = [
            [*position, 0.5 * diameters_angstrom[kind] / voxel_size]
            for kind, position in zip(truth.names, truth.positions, strict=True)
            if kind in annotated.ignored
        ]
        tomogram = annotate(
            volume.path, voxel_size=voxel_size, known=volume.slab, names=truth.names, positions=truth.positions,
            classes=config.model.classes, ignored=np.array(balls, np.float64).reshape(-1, 4),
        )  # fmt: skip
        made.append(tomogram)
    return made


def _check_voxel_size(folder: Path, expected: float) -> None:
    found = header_voxel_size(folder)
    if found is not None and abs(found / expected - 1) > MODEL_TOLERANCE:
        problem = f"voxel size {found:g} A in the header, the configuration's model is for {expected:g} A"
        fix = "make model.voxel_size_angstrom that of the data; if the header is wrong, mend it"
        raise InputError(30, f"{folder.name}/{TOMOGRAM}", problem, fix)


MaskVolumes = dict[str, list[int]]
"""Voxels of each particle's mask, by the particle's name."""


def mask_volumes(config: TrainingConfig, names: list[str]) -> dict[str, MaskVolumes]:
    """Read how large the mask of every particle is, by tomogram."""
    return {name: _mask_volumes(Path(config.annotated.shrec) / name, config.annotated) for name in names}


def _mask_volumes(folder: Path, annotated: AnnotatedSection) -> MaskVolumes:
    truth = read_names(folder, annotated)
    voxels = np.bincount(read_occupancy_mask(folder, truth).ravel(), minlength=len(truth) + 1)[1:]
    volumes: MaskVolumes = {}
    for kind, volume in zip(truth.names, voxels.tolist(), strict=True):
        volumes.setdefault(kind, []).append(volume)
    return volumes


def mean_diameters(config: TrainingConfig, volumes: Mapping[str, MaskVolumes]) -> dict[str, float]:
    """Return by name the diameter, in angstrom, of the sphere that has the mean volume of such particles' masks."""
    size = config.model.voxel_size_angstrom
    together: MaskVolumes = {}
    for of_one in volumes.values():
        for kind, voxels in of_one.items():
            together.setdefault(kind, []).extend(voxels)
    return {kind: round(float(np.cbrt(6.0 / np.pi * np.mean(v))) * size, 1) for kind, v in sorted(together.items())}


def _is_complete(folder: Path) -> bool:
    try:
        return bool(find_file(folder, LOCATIONS) and find_file(folder, TOMOGRAM))
    except PickerError:
        return False
