"""A training run: its folder, its data, its validation; everything `picker-training fit` does but reading options.

RUN/config.toml      the resolved configuration      RUN/scenes/        the simulated pool
RUN/classes.json     diameter of each class, in A    RUN/checkpoint.pt  the state to go on from
RUN/log.csv          one row per reported step       RUN/best.pt        the weights that validated best
RUN/validation.csv   one row per validation          RUN/curves.png     both as curves
RUN/tensorboard/     both as events                  RUN/lock           held by the process that trains
RUN/begun_with.json  the model whose weights it began with, if it did
RUN/labels.json      what tells whether one's own picks are those that it learnt from
"""

import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from picker_runtime.atomic import write_text
from picker_runtime.bundle import Bundle
from picker_runtime.engines.threads import available_threads
from picker_runtime.errors import UsageError
from picker_training.calibration import candidates_of, picks_of
from picker_training.checkpoint import Best, load_best, load_checkpoint, save_best
from picker_training.choice import Choice
from picker_training.config import TrainingConfig
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.datasets.truth import Truth
from picker_training.detectors.base import Detector
from picker_training.evaluation import distance
from picker_training.model_card import decoded, diameters_voxels, draft_card, load_network
from picker_training.networks import build_network
from picker_training.parallel import current
from picker_training.run_lock import locked
from picker_training.run_log import REPORT_EVERY, Note, RunLog
from picker_training.run_log import Score as Score
from picker_training.run_terms import bind_run, labels_of, prepare_run
from picker_training.torch_engine import TorchEngine
from picker_training.trainer import Progress, Trainer
from picker_training.training_data import TrainingData, open_data

CLASSES = "classes.json"
FEW = 10
"""Particles; fewer tell little of how good a network is."""


def read_diameters(folder: Path) -> dict[str, float]:
    """Return the diameter of each class in angstrom, as the run measured it on its templates or masks."""
    diameters: dict[str, float] = json.loads((folder / CLASSES).read_text())
    return diameters


def load_average(
    run: Path, config: TrainingConfig, device: torch.device, choice: Choice | None = None
) -> tuple[Detector, int]:
    """Return a moving average of a run's weights and the step it was taken at: by default the best, if there is one.

    Raises:
        UsageError: E83 if the run has no such checkpoint.
    """
    best = load_best(run) if choice != Choice.LAST else None
    found = best or (load_checkpoint(run) if choice != Choice.BEST else None)
    if found is None or found.step == 0:
        problem = "no validated checkpoint in it" if choice == Choice.BEST else "no checkpoint in it"
        raise UsageError(83, str(run), problem, "train first: picker-training fit")
    network = build_network(config).to(device)
    network.load_state_dict(found.average)
    return network.eval(), found.step


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
    note: Note = lambda line: None,
) -> bool:
    """Start a run or go on with it, for at most so many seconds; tell whether its last step is done.

    templates: of the classes; None for a run on annotated tomograms.
    start: name or folder of a bundle whose weights a new run begins with; a run that has a checkpoint goes on from it.
    Of several ranks the first alone writes, validates and reports.
    """
    ranks = current()
    bundle = Bundle.open(start) if start is not None else None
    with locked(folder) if ranks.first else nullcontext():
        if ranks.first:
            prepare_run(folder, config, bundle)
        ranks.wait()
        data = open_data(folder, config, templates, device)
        if ranks.first:
            bind_run(folder, config, bundle, labels_of(config, data.pool))
        config = fed(config, device)
        trainer = Trainer(config, data.pool, folder, device, ranks)
        trainer.network.prepare(diameters_voxels(draft_card(config, data.diameters_angstrom)))
        if bundle is not None:
            trainer.begin_with(load_network(bundle), bundle.card.class_names)
        if not ranks.first:
            return trainer.run(lambda progress: None, lambda network, step: None, seconds=seconds)
        write_text(folder / CLASSES, json.dumps(data.diameters_angstrom, indent=2) + "\n")
        _note_beforehand(trainer, data, note)
        return _run_logged(trainer, data, note, report, report_score, seconds)


def fed(config: TrainingConfig, device: torch.device) -> TrainingConfig:
    """Return the configuration with as many workers as feed a GPU, unless it says how many itself."""
    default = config.workers == TrainingConfig.workers
    return replace(config, workers=available_threads()) if default and device.type == "cuda" else config


def _note_beforehand(trainer: Trainer, data: TrainingData, note: Note) -> None:
    """Note that few particles judge the run, or that nothing is left to do."""
    judging, steps = len(data.validation.positions), trainer.config.optimiser.steps
    if judging < FEW:
        note(f"particles that judge the run: {judging}; scores are rough, annotate more if you can")
    if trainer.step >= steps:
        note(f"step {trainer.step}/{steps}: already done; give another folder with -o to train anew")


def _run_logged(
    trainer: Trainer,
    data: TrainingData,
    note: Note,
    report: Callable[[Progress], None],
    report_score: Callable[[Score], None],
    seconds: float,
) -> bool:
    """Train with a log and validations, and keep the best average."""
    folder, config = trainer.folder, trainer.config
    log = RunLog(folder, trainer.step, note)
    last = log.last_score()

    def add_progress(progress: Progress) -> None:
        if progress.step % REPORT_EVERY == 0 or progress.step == progress.steps:
            log.add_progress(progress)
            report(progress if last is None else replace(progress, f1=last.f1, class_f1=last.class_f1))

    def validate(network: Detector, step: int) -> None:
        nonlocal last
        if last is not None and last.step == step:
            return  # done before the run was stopped
        last = validation_score(network, config, data.diameters_angstrom, data.validation, step)
        _keep_best(folder, network, last)
        log.add_score(last)
        report_score(last)

    try:
        return trainer.run(add_progress, validate, seconds=seconds)
    finally:
        log.close()


def _keep_best(folder: Path, network: Detector, score: Score) -> None:
    """Keep the average that validated best; of equals the last, which learnt longest."""
    before = load_best(folder)
    if before is None or before.step >= score.step or score.objective >= before.objective:
        save_best(folder, Best(step=score.step, average=network.state_dict(), objective=score.objective))


def validation_score(
    network: Detector, config: TrainingConfig, diameters: dict[str, float], volume: AnnotatedVolume, step: int
) -> Score:
    """Detect in the validation volume with the runtime's own code and score by the `distance` rule."""
    card = draft_card(config, diameters)
    names = config.model.classes
    with TorchEngine(decoded(network, card)) as engine:
        candidates = candidates_of(engine, card, volume)
    picks = picks_of(candidates, card, volume.voxel_size)
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
