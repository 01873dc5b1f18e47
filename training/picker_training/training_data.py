"""Training data: what a run learns from and is judged on, simulated scenes or annotated tomograms."""

from dataclasses import dataclass
from pathlib import Path

import torch

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Triple
from picker_training.config import TrainingConfig
from picker_training.datasets import picked_tomograms, shrec_tomograms
from picker_training.datasets.annotated import AnnotatedPool, AnnotatedTomogram, AnnotatedVolume
from picker_training.datasets.scenes import ScenePool
from picker_training.loading import Pool
from picker_training.simulator.scene import Scene, SceneSpec, simulate
from picker_training.simulator.templates import Template, load_templates

SCENES = "scenes"
VALIDATION_SHAPE: Triple = (96, 192, 192)
VALIDATION_PARTICLES = 180
VALIDATION_SEED = 7001
VALIDATION_SNR = 0.05

CALIBRATION_SEEDS = (8001, 8002, 8003)
CALIBRATION_SNRS = (0.1, 0.05, 0.03)
CALIBRATION_SHAPE: Triple = (200, 256, 256)
CALIBRATION_PARTICLES = 650


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run learns from.

    pool: sources of training samples. diameters_angstrom: by class.
    validation: the volume that a run is judged on while it trains.
    """

    pool: Pool
    diameters_angstrom: dict[str, float]
    validation: AnnotatedVolume


def open_data(folder: Path, config: TrainingConfig, templates: Path | None, device: torch.device) -> TrainingData:
    """Return the data of a run: annotated tomograms if its configuration names some, else scenes kept in its folder.

    Raises:
        UsageError: E80 if scenes are to be simulated and there are no templates; E84 if a class has no template.
        InputError: if an annotated tomogram cannot be used.
    """
    if config.picks.tomograms:
        return _picked(config)
    if config.annotated.shrec:
        return _annotated(config)
    found = load_templates(_needed(templates), config.model.classes)
    pool = ScenePool(
        folder / SCENES, size=config.data.scenes, seed=config.seed, templates=found,
        strangers=load_templates(_needed(templates), config.data.strangers),
        voxel_size=config.model.voxel_size_angstrom, device=device,
    )  # fmt: skip
    return TrainingData(
        pool=pool,
        diameters_angstrom={t.name: round(t.diameter_angstrom, 1) for t in found},
        validation=_validation_scene(found, config, device),
    )


def calibration_volumes(config: TrainingConfig, templates: Path | None) -> list[AnnotatedVolume]:
    """Return volumes for thresholds and halo, seen neither in training nor in tests.

    Simulated: scenes of seeds of their own. Annotated: the validation tomogram, or the block of the only one that was
    held back, in blocks.
    """
    if config.picks.tomograms:
        return _blocks(_open_picked(config)[1])
    if config.annotated.shrec:
        names = [config.annotated.validation]
        diameters = shrec_tomograms.mean_diameters(config, shrec_tomograms.mask_volumes(config, names))
        return _blocks(shrec_tomograms.read_tomograms(config, names, diameters)[0])
    classes = load_templates(_needed(templates), config.model.classes)
    strangers = load_templates(_needed(templates), config.data.strangers)
    made = []
    for i, seed in enumerate(CALIBRATION_SEEDS):
        contaminated = i == len(CALIBRATION_SEEDS) - 1
        spec = SceneSpec(
            shape=CALIBRATION_SHAPE, particles=CALIBRATION_PARTICLES, voxel_size=config.model.voxel_size_angstrom,
            gold=5 * contaminated, vesicles=2 * contaminated, strangers=5 * contaminated,
        )  # fmt: skip
        scene = simulate(spec, classes, seed, strangers=strangers)
        made += [_rendered(scene, snr) for snr in CALIBRATION_SNRS]
    return made


def _needed(templates: Path | None) -> Path:
    if templates is None:
        raise UsageError(80, "--templates", "missing, and scenes have to be simulated", "add --templates DIR")
    return templates


def _picked(config: TrainingConfig) -> TrainingData:
    learnt, judge = _open_picked(config)
    return TrainingData(
        pool=AnnotatedPool(tomograms=tuple(learnt), seed=config.seed),
        diameters_angstrom=_of_classes(config.picks.diameters_angstrom(), config),
        validation=_blocks(judge)[0],
    )


def _open_picked(config: TrainingConfig) -> tuple[list[AnnotatedTomogram], AnnotatedTomogram]:
    return picked_tomograms.open_tomograms(config.picks, config.model.classes, halo=config.data.halo)


def _annotated(config: TrainingConfig) -> TrainingData:
    annotated = config.annotated
    names = shrec_tomograms.tomogram_names(Path(annotated.shrec))
    learnt = [name for name in names if name not in {annotated.validation, *annotated.held_out}]
    volumes = shrec_tomograms.mask_volumes(config, [*learnt, annotated.validation])
    diameters = shrec_tomograms.mean_diameters(config, volumes)
    tomograms = shrec_tomograms.read_tomograms(config, list(volumes), diameters)
    of_learnt = shrec_tomograms.mean_diameters(config, {name: volumes[name] for name in learnt})
    return TrainingData(
        pool=AnnotatedPool(tomograms=tuple(tomograms[:-1]), seed=config.seed),
        diameters_angstrom=_of_classes(of_learnt, config),
        validation=_blocks(tomograms[-1])[0],
    )


def _of_classes(diameters: dict[str, float], config: TrainingConfig) -> dict[str, float]:
    """Return the diameter of every class of the model."""
    for name in config.model.classes:
        if name not in diameters:
            raise UsageError(83, name, "a class of the configuration, in no tomogram to train on", "take it out")
    return {name: diameters[name] for name in config.model.classes}


def _validation_scene(templates: list[Template], config: TrainingConfig, device: torch.device) -> AnnotatedVolume:
    """Return the scene that a run is judged on while it trains; its seed is no training scene's."""
    spec = SceneSpec(
        shape=VALIDATION_SHAPE, particles=VALIDATION_PARTICLES, voxel_size=config.model.voxel_size_angstrom
    )
    return _rendered(simulate(spec, templates, VALIDATION_SEED, device=device), VALIDATION_SNR)


def _rendered(scene: Scene, snr: float) -> AnnotatedVolume:
    return AnnotatedVolume(
        volume=scene.tomogram(snr),
        voxel_size=scene.voxel_size,
        positions=scene.placements.positions,
        class_ids=scene.placements.class_ids,
    )


def _blocks(tomogram: AnnotatedTomogram) -> list[AnnotatedVolume]:
    """Return the known part of a tomogram in blocks of its whole depth, most particles first."""
    _, height, width = CALIBRATION_SHAPE
    boxes = tomogram.known.parts((tomogram.known.shape[0], height, width))
    return sorted(map(tomogram.volume, boxes), key=lambda block: -len(block.positions))
