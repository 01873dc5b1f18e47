"""A training run: its folder, its data, its validation; everything `picker-training fit` does but reading options.

RUN/config.toml      the resolved configuration      RUN/scenes/        the simulated pool
RUN/classes.json     diameter of each class, in A    RUN/checkpoint.pt  the state to go on from
RUN/log.csv          one row per reported step       RUN/validation.csv one row per validation
"""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from picker_runtime.atomic import write_text
from picker_runtime.bundle import Bundle
from picker_runtime.errors import UsageError
from picker_runtime.geometry import Triple
from picker_runtime.nms import pick
from picker_runtime.scanning import Scanner, Stages
from picker_runtime.tomogram import Tomogram
from picker_training.config import TrainingConfig, dump_config, load_config
from picker_training.datasets.scenes import ScenePool
from picker_training.datasets.truth import Truth
from picker_training.detectors.point import PointDetector
from picker_training.evaluation import distance
from picker_training.model_card import decoded, draft_card, load_network
from picker_training.simulator.scene import Scene, SceneSpec, simulate
from picker_training.simulator.templates import Template, load_templates
from picker_training.torch_engine import TorchEngine
from picker_training.trainer import Progress, Trainer

CONFIG, CLASSES, LOG, VALIDATION = "config.toml", "classes.json", "log.csv", "validation.csv"
REPORT_EVERY = 10
VALIDATION_SHAPE: Triple = (96, 192, 192)
VALIDATION_PARTICLES = 180
VALIDATION_SEED = 7001
VALIDATION_SNR = 0.05


@dataclass(frozen=True, kw_only=True)
class Score:
    """Localisation F1, mean class F1 and centre error (voxels) of the moving average on the validation scene."""

    step: int
    f1: float
    class_f1: float
    centre_error: float


def prepare_run(folder: Path, config: TrainingConfig, templates: Path) -> None:
    """Make a run's folder with its configuration and class diameters; an existing run must have the same ones.

    Raises:
        UsageError: E83 if the folder holds a run with another network, seed or data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / CONFIG
    if stored.exists():
        before = load_config(stored)
        if (before.seed, before.model, before.data) != (config.seed, config.model, config.data):
            raise UsageError(
                83, str(stored), "the run was started with another seed, model or data",
                "give another folder with -o, or the configuration that lies in it",
            )  # fmt: skip
    write_text(stored, dump_config(config))
    diameters = {t.name: round(t.diameter_angstrom, 1) for t in load_templates(templates, config.model.classes)}
    write_text(folder / CLASSES, json.dumps(diameters, indent=2) + "\n")


def read_diameters(folder: Path) -> dict[str, float]:
    """Return the diameter of each class in angstrom, as the run measured it on the templates."""
    diameters: dict[str, float] = json.loads((folder / CLASSES).read_text())
    return diameters


def scene_pool(folder: Path, config: TrainingConfig, templates: Path, device: torch.device) -> ScenePool:
    """Return the run's pool of training scenes."""
    return ScenePool(
        folder / "scenes",
        size=config.data.scenes,
        seed=config.seed,
        templates=load_templates(templates, config.model.classes),
        strangers=load_templates(templates, config.data.strangers),
        voxel_size=config.model.voxel_size_angstrom,
        device=device,
    )


def fit(
    folder: Path,
    config: TrainingConfig,
    templates: Path,
    device: torch.device,
    *,
    start: Bundle | None = None,
    seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda progress: None,
    report_score: Callable[[Score], None] = lambda score: None,
) -> bool:
    """Start a run or go on with it, for at most so many seconds; tell whether its last step is done.

    start: a bundle whose weights a new run begins with; a run that has a checkpoint goes on from that.
    """
    prepare_run(folder, config, templates)
    pool = scene_pool(folder, config, templates, device)
    trainer = Trainer(config, pool, folder, device)
    if start is not None:
        trainer.begin_with(load_network(start))
    validation = validation_scene(pool.templates, config, device)

    def log(progress: Progress) -> None:
        if progress.step % REPORT_EVERY == 0 or progress.step == progress.steps:
            _append(folder / LOG, asdict(progress))
            report(progress)

    def validate(network: PointDetector, step: int) -> None:
        score = validation_score(network, config, read_diameters(folder), validation, step)
        _append(folder / VALIDATION, asdict(score))
        report_score(score)

    return trainer.run(log, validate, seconds=seconds)


def validation_scene(templates: list[Template], config: TrainingConfig, device: torch.device) -> Scene:
    """Return the scene that a run is judged on while it trains; its seed is no training scene's."""
    spec = SceneSpec(
        shape=VALIDATION_SHAPE, particles=VALIDATION_PARTICLES, voxel_size=config.model.voxel_size_angstrom
    )
    return simulate(spec, templates, VALIDATION_SEED, device=device)


def validation_score(
    network: PointDetector, config: TrainingConfig, diameters: dict[str, float], scene: Scene, step: int
) -> Score:
    """Detect in the validation scene with the runtime's own code and score by the `distance` rule."""
    card = draft_card(config, diameters)
    names = config.model.classes
    tomogram = Tomogram.from_array(scene.tomogram(VALIDATION_SNR), scene.voxel_size)
    with TorchEngine(decoded(network, card)) as engine:
        scanner = Scanner(engine=engine, card=card, tile=card.tile, halo=card.halo)
        _, candidates = scanner.scan(tomogram, None, invert=False, stages=Stages(), progress=lambda done, total: None)
    picks = pick(
        candidates,
        thresholds=np.array([c.threshold for c in card.classes]),
        fraction=card.nms_fraction,
        voxel_size=scene.voxel_size,
    )
    placed = scene.placements
    result = distance.score(
        picks.positions,
        [names[c] for c in picks.class_ids],
        picks.scores,
        Truth(names=tuple(names[c] for c in placed.class_ids), positions=placed.positions),
        {name: value / scene.voxel_size for name, value in diameters.items()},
    )
    return Score(
        step=step,
        f1=result.f1,
        class_f1=result.mean_class_f1 or 0.0,
        centre_error=math.nan if result.centre_error is None else result.centre_error,
    )


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row.keys(), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
