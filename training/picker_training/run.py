"""A training run: its folder, its data, its validation; everything `picker-training fit` does but reading options.

RUN/config.toml      the resolved configuration      RUN/scenes/        the simulated pool
RUN/classes.json     diameter of each class, in A    RUN/checkpoint.pt  the state to go on from
RUN/log.csv          one row per reported step       RUN/validation.csv one row per validation
RUN/begun_with.json  the model whose weights it began with, if it did
"""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from picker_runtime.atomic import write_text
from picker_runtime.bundle import Bundle
from picker_runtime.errors import UsageError
from picker_training.calibration import candidates_of, picks_of
from picker_training.checkpoint import load_checkpoint
from picker_training.config import TrainingConfig, dump_config, load_config
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.datasets.truth import Truth
from picker_training.detectors.point import PointDetector
from picker_training.evaluation import distance
from picker_training.model_card import decoded, draft_card, load_network
from picker_training.torch_engine import TorchEngine
from picker_training.trainer import Progress, Trainer, build_network
from picker_training.training_data import open_data

CONFIG, CLASSES, LOG, VALIDATION = "config.toml", "classes.json", "log.csv", "validation.csv"
BEGUN_WITH = "begun_with.json"
REPORT_EVERY = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """Localisation F1, mean class F1 and centre error (voxels) of the moving average on the validation volume."""

    step: int
    f1: float
    class_f1: float
    centre_error: float


def prepare_run(folder: Path, config: TrainingConfig) -> None:
    """Make a run's folder with its configuration; an existing run must have the same one but for the optimiser.

    Raises:
        UsageError: E83 if the folder holds a run with another network, seed or data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = folder / CONFIG
    if stored.exists():
        before = load_config(stored)
        if replace(before, optimiser=config.optimiser, workers=config.workers) != config:
            raise UsageError(
                83, str(stored), "the run was started with another seed, model or data",
                "give another folder with -o, or the configuration that lies in it",
            )  # fmt: skip
    write_text(stored, dump_config(config))


def read_diameters(folder: Path) -> dict[str, float]:
    """Return the diameter of each class in angstrom, as the run measured it on its templates or masks."""
    diameters: dict[str, float] = json.loads((folder / CLASSES).read_text())
    return diameters


def load_average(run: Path, config: TrainingConfig, device: torch.device) -> tuple[PointDetector, int]:
    """Return the moving average of a run's weights and the step it was taken at.

    Raises:
        UsageError: E83 if the run has no checkpoint.
    """
    checkpoint = load_checkpoint(run, device)
    if checkpoint is None:
        raise UsageError(83, str(run), "no checkpoint in it", "train first: picker-training fit")
    network = build_network(config).to(device)
    network.load_state_dict(checkpoint.average)
    return network.eval(), checkpoint.step


def fit(
    folder: Path,
    config: TrainingConfig,
    templates: Path | None,
    device: torch.device,
    *,
    start: str | Path | None = None,
    seconds: float = math.inf,
    report: Callable[[Progress], None] = lambda progress: None,
    report_score: Callable[[Score], None] = lambda score: None,
) -> bool:
    """Start a run or go on with it, for at most so many seconds; tell whether its last step is done.

    templates: of the classes; None for a run on annotated tomograms.
    start: name or folder of a bundle whose weights a new run begins with; a run that has a checkpoint goes on from it.
    """
    bundle = Bundle.open(start) if start is not None else None
    prepare_run(folder, config)
    data = open_data(folder, config, templates, device)
    write_text(folder / CLASSES, json.dumps(data.diameters_angstrom, indent=2) + "\n")
    trainer = Trainer(config, data.pool, folder, device)
    if bundle is not None:
        trainer.begin_with(load_network(bundle))
        origin = {"model": bundle.card.name, "version": bundle.card.version, "training": bundle.card.training}
        write_text(folder / BEGUN_WITH, json.dumps(origin, indent=2) + "\n")

    def log(progress: Progress) -> None:
        if progress.step % REPORT_EVERY == 0 or progress.step == progress.steps:
            _append(folder / LOG, asdict(progress))
            report(progress)

    def validate(network: PointDetector, step: int) -> None:
        score = validation_score(network, config, data.diameters_angstrom, data.validation, step)
        _append(folder / VALIDATION, asdict(score))
        report_score(score)

    return trainer.run(log, validate, seconds=seconds)


def validation_score(
    network: PointDetector, config: TrainingConfig, diameters: dict[str, float], volume: AnnotatedVolume, step: int
) -> Score:
    """Detect in the validation volume with the runtime's own code and score by the `distance` rule."""
    card = draft_card(config, diameters)
    names = config.model.classes
    with TorchEngine(decoded(network, card)) as engine:
        candidates = candidates_of(engine, card, volume)
    thresholds = np.array([c.threshold for c in card.classes])
    picks = picks_of(candidates, card, volume.voxel_size, thresholds)
    result = distance.score(
        picks.positions,
        [names[c] for c in picks.class_ids],
        picks.scores,
        Truth(names=tuple(names[c] for c in volume.class_ids), positions=volume.positions),
        {name: value / volume.voxel_size for name, value in diameters.items()},
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
