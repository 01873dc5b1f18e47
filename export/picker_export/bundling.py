"""Bundling: from a training run to a complete model folder, every number on its card measured through its graph."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from picker_export.batch_norm import reestimate_batch_norm
from picker_export.facts import describe, licence_of, origin, training_facts
from picker_export.half_weights import half_weights, round_to_half
from picker_export.halo import ENOUGH_PICKS, SAFE_HALO, measure_halo
from picker_export.judging import Judgement
from picker_export.onnx_export import export_graph
from picker_export.parity import Parity, report_parity
from picker_export.precision import add_precisions
from picker_export.staging import staged
from picker_runtime.atomic import atomic_writer, write_bytes, write_text
from picker_runtime.bundle import CARD, GRAPH, GRAPHS, SELFTEST, Bundle, known_models, write_card
from picker_runtime.card import ModelCard
from picker_runtime.engines.openvino import OpenVinoEngine
from picker_runtime.errors import UsageError
from picker_training.augmentation import Augmentation
from picker_training.calibration import calibrated, candidates_of
from picker_training.choice import Choice
from picker_training.config import TrainingConfig, load_config
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.loading import Batch, Pool, batches
from picker_training.model_card import WEIGHTS, decoded, draft_card
from picker_training.run import load_average
from picker_training.run_terms import CONFIG, check_labels, labels_of
from picker_training.training_data import calibration_volumes, open_data

README = "README.md"
NORM_BATCHES = 40
SCALE_BATCHES = 16
"""Batches that int8 is scaled by."""
BATCH = 4
FIRST_BATCH = 1_000_000
"""Number of the first batch that is drawn for the export; a run has none of so high a number."""
PRECISION = "precision"
"""Key of the judgements among a card's metrics."""
THRESHOLDS_BETA = "thresholds_beta"
"""Key of the beta among a card's facts about its training."""
SELFTEST_EDGE, SELFTEST_STEP = 48, 16
"""Edge of the self-test's cube in voxels; in a thinner scene the next smaller multiple of the step."""
LEAST_CELLS = 16
"""Least number of output cells along a cube's edge: a graph takes no cube with fewer cells than it has candidates."""
MAX_FILE_BYTES = 8_000_000
MAX_BUNDLE_BYTES = 20_000_000
LARGE = "train a narrower network, or say --large if the model is not to be packaged"

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What the caller decides: the bundle's version and licence, which weights of the run it holds, and its size.

    licence: None for that of the model that the run began with, if it began with one.
    precisions: of the graphs beside the float32 one. beta: by whose F the thresholds are chosen, 1 for F1.
    large: let its files be larger than those that are packaged.

    Raises:
        UsageError: E80 for an unknown precision, or a beta that is not above 0.
    """

    version: str
    licence: str | None = None
    checkpoint: Choice | None = None
    precisions: tuple[str, ...] = tuple(GRAPHS)
    beta: float = 1.0
    large: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.beta < math.inf:
            raise UsageError(80, f"--beta {self.beta:g}", "no weight of recall", "give more than 0, 1 for F1")
        for precision in self.precisions:
            if precision not in GRAPHS:
                raise UsageError(80, f"--precision {precision}", "no such precision", f"give {', '.join(GRAPHS)}")


def export_run(
    run: Path, templates: Path | None, folder: Path, options: ExportOptions, say: Say
) -> list[Parity | Judgement]:
    """Write the bundle of a training run into a folder; return how engines and precisions compare.

    Raises:
        UsageError: E80 if the folder is called like a bundled model; E83 if the run has no checkpoint, or its
            labels have changed since; E84 if a file comes out too large.
        EngineError: E60 if int8 is asked for and nncf is not installed.
        OutputError: E70 or E71 if the folder cannot be written.
    """
    if str(folder) in known_models():
        problem = f"--model {folder} would mean the model of that name that comes with picker"
        raise UsageError(80, f"-o {folder}", problem, "give the folder another name")
    with staged(folder) as stage:
        scenes, judgements = _build(run, templates, stage, options, say)
        if not options.large:
            _check_sizes(stage, folder.name)
    return [*report_parity(Bundle.open(folder), scenes[1:2] or scenes), *judgements]


def _build(
    run: Path, templates: Path | None, folder: Path, options: ExportOptions, say: Say
) -> tuple[list[AnnotatedVolume], list[Judgement]]:
    """Write all files of a bundle; return what it was calibrated on, and how its precisions compare."""
    config = load_config(run / CONFIG)
    network, step = load_average(run, config, torch.device("cpu"), options.checkpoint)
    say(f"weights after step {step}; BatchNorm re-estimated on {NORM_BATCHES} batches")
    data = open_data(run, config, templates, torch.device("cpu"))
    check_labels(run, labels_of(config, data.pool))
    round_to_half(network)
    reestimate_batch_norm(network, _draw(data.pool, config, crop=config.data.crop, first=0, count=NORM_BATCHES))
    write_bytes(folder / WEIGHTS, save(half_weights(network)))
    begun = origin(run)
    draft = draft_card(config, data.diameters_angstrom)
    card = replace(draft, version=options.version, licence=licence_of(begun, options.licence))
    detector = decoded(network, card)
    export_graph(detector, folder / GRAPH)
    scenes = calibration_volumes(config, templates)
    card = _calibrated(folder, card, scenes, network.nms_fractions, options.beta, say)
    cubes = partial(_cubes, data.pool, config, card)
    judgements = add_precisions(folder, card, options.precisions, cubes=cubes, scenes=scenes, say=say)
    metrics = {PRECISION: {one.precision: one.to_json() for one in judgements if one.passed}} if judgements else {}
    facts = training_facts(config, network, step) | {THRESHOLDS_BETA: options.beta} | begun
    card = replace(card, training=facts, metrics=metrics)
    write_text(folder / README, describe(write_card(folder, card)))
    return scenes, judgements


def _calibrated(
    folder: Path,
    card: ModelCard,
    scenes: list[AnnotatedVolume],
    fractions: tuple[float, ...],
    beta: float,
    say: Say,
) -> ModelCard:
    """Return the card with what is measured through the folder's graph; write the graph's self-test."""
    with OpenVinoEngine(folder / GRAPH) as engine:
        found = [candidates_of(engine, card, scene) for scene in scenes]
        card = calibrated(card, found, scenes, fractions=fractions, beta=beta)
        halo, curve, compared = measure_halo(engine, card, scenes[:2])
        write_selftest(folder, engine, scenes[0], max(SELFTEST_EDGE, LEAST_CELLS * card.output_stride))
    say(f"picks nearer than {card.nms_fraction:g} of their mean diameter are one")
    thresholds = {particle.name: particle.threshold for particle in card.classes}
    say(f"thresholds {thresholds}")
    few = f" (no less than {SAFE_HALO}: only {compared} picks to compare)" if compared < ENOUGH_PICKS else ""
    say(f"halo {halo}{few}, agreement with whole-volume inference {curve}")
    return replace(card, halo=halo, halo_curve=curve)


def put_metrics(folder: Path, files: list[Path]) -> None:
    """Replace the measured figures on a bundle's card by those of JSON files, merged, and its README with it.

    What the export measured of the precisions stays, and so do the files that the card names.

    Raises:
        UsageError: E80 if a file is not readable JSON with one object.
    """
    figures: dict[str, Any] = {}
    for file in files:
        try:
            figures |= json.loads(file.read_text("utf-8"))
        except (OSError, ValueError, TypeError) as error:
            raise UsageError(80, str(file), f"no JSON object in it ({error})", "give what bench12.py wrote") from error
    card = Bundle.open(folder).card
    kept = {key: value for key, value in card.metrics.items() if key == PRECISION}
    card = replace(card, metrics=kept | figures)
    write_text(folder / CARD, card.to_json())
    write_text(folder / README, describe(card))


def write_selftest(folder: Path, engine: OpenVinoEngine, scene: AnnotatedVolume, edge: int) -> None:
    """Write a small input of the graph with its output, which `picker-runtime doctor` compares."""
    edges = [min(edge, n // SELFTEST_STEP * SELFTEST_STEP) for n in scene.volume.shape]
    middle = tuple(slice((n - own) // 2, (n + own) // 2) for n, own in zip(scene.volume.shape, edges, strict=True))
    cube = scene.volume[middle].astype(np.float16).astype(np.float32)
    inputs = {
        "cubes": cube[None, None],
        "mean": np.array([np.median(scene.volume)], np.float32),
        "inverse_std": np.array([1.0 / scene.volume.std()], np.float32),
    }
    outputs = engine.infer(inputs)
    with atomic_writer(folder / SELFTEST, "wb") as stream:
        np.savez_compressed(stream, **inputs, **outputs)  # type: ignore[arg-type]


def _draw(pool: Pool, config: TrainingConfig, *, crop: int, first: int, count: int) -> Iterator[Batch]:
    """Yield training batches that the run did not see, by number from `FIRST_BATCH` on, without augmentation."""
    augmentation = Augmentation(
        crop=crop, halo=config.data.halo, snr=config.data.snr, half_turns=False, mirror=False, turn_probability=0.0,
        int8_probability=0.0, near_probability=0.0,
    )  # fmt: skip
    first += FIRST_BATCH
    return batches(pool, augmentation, batch=BATCH, first_step=first, steps=first + count, workers=0)


def _cubes(pool: Pool, config: TrainingConfig, card: ModelCard) -> Iterator[NDArray[np.float32]]:
    """Yield cubes `(1, 1, d, h, w) float32`, normalised, that int8 is scaled by."""
    crop = max(config.data.crop, LEAST_CELLS * card.output_stride)
    for batch in _draw(pool, config, crop=crop, first=NORM_BATCHES, count=SCALE_BATCHES):
        yield from batch.cubes.numpy()[:, None]


def _check_sizes(folder: Path, name: str) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    for file, size in sizes.items():
        if size > MAX_FILE_BYTES:
            raise UsageError(84, file, f"{size / 1e6:.1f} MB, at most 8 fit a bundle", LARGE)
    if sum(sizes.values()) > MAX_BUNDLE_BYTES:
        raise UsageError(84, name, f"{sum(sizes.values()) / 1e6:.1f} MB, at most 20 fit a bundle", LARGE)
