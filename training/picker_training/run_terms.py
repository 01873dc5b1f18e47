"""The terms of a run: its configuration, the model it begins with, its labels; they bind once it has a checkpoint."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from picker_runtime.atomic import remove, sweep_leftovers, write_text
from picker_runtime.bundle import Bundle, file_sha256
from picker_runtime.errors import UsageError
from picker_training.checkpoint import has_checkpoint
from picker_training.config import TrainingConfig, dump_config, load_config
from picker_training.datasets.annotated import AnnotatedPool
from picker_training.datasets.picks import read_annotations
from picker_training.loading import Pool
from picker_training.training_data import SCENES

CONFIG, BEGUN_WITH, LABELS = "config.toml", "begun_with.json", "labels.json"

Labels = dict[str, Any]


def prepare_run(folder: Path, config: TrainingConfig, bundle: Bundle | None = None) -> None:
    """Make a run's folder ready; a run that has a checkpoint must have begun likewise, but for how it is optimised.

    Scenes of another configuration that never came to a checkpoint are removed.

    bundle: whose weights the run is said to begin with.

    Raises:
        UsageError: E83 if the run has another network, seed, data or kind of optimiser, or began with another model; or
            it was to begin with one, has not begun, and is given none now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / SCENES):
        sweep_leftovers(place)
    stored = folder / CONFIG
    other = stored.exists() and not _goes_on(load_config(stored), config)
    begun = _read(folder / BEGUN_WITH).get("model", "")
    if not has_checkpoint(folder):
        if begun and bundle is None:
            problem = f"the run is to begin with {begun} and was stopped before it did"
            raise UsageError(83, str(folder), problem, "give --from again, or another folder with -o")
        if other:
            shutil.rmtree(folder / SCENES, ignore_errors=True)
        return
    if bundle is not None and bundle.card.name != begun:
        problem = f"the run began with {begun or 'untrained weights'}, not with {bundle.card.name}"
        raise UsageError(83, str(folder), problem, "leave --from out to go on with it, or give another folder with -o")
    if other:
        raise UsageError(
            83, str(stored), "the run was started with another seed, model, data or kind of optimiser",
            "give another folder with -o, or the configuration that lies in it",
        )  # fmt: skip


def bind_run(folder: Path, config: TrainingConfig, bundle: Bundle | None = None, labels: Labels | None = None) -> None:
    """Write the terms of a run that has no checkpoint yet; of one that has, the configuration as it is optimised now.

    Raises:
        UsageError: as `check_labels`, if it has a checkpoint.
    """
    if has_checkpoint(folder):
        check_labels(folder, labels or {})
    else:
        card = bundle.card if bundle is not None else None
        origin = card and {
            "model": card.name, "version": card.version, "licence": card.licence, "training": card.training,
        }  # fmt: skip
        for name, content in ((BEGUN_WITH, origin), (LABELS, labels)):
            if content:
                write_text(folder / name, json.dumps(content, indent=2) + "\n")
            else:
                remove(folder / name)
    write_text(folder / CONFIG, dump_config(config))


def labels_of(config: TrainingConfig, pool: Pool) -> Labels:
    """Return what tells whether a run on one's own tomograms has the picks, and learns where, it did before; else {}.

    picks: a digest of the tomogram, class and position of every pick in the tomograms. learnt: the box, zyx, voxels, of
    each tomogram that is learnt from. masks: the sha256 of its ignore mask.
    """
    if not (config.picks.tomograms and isinstance(pool, AnnotatedPool)):
        return {}
    annotations = read_annotations(config.picks)
    there = annotations.annotated
    picks = sorted((p.tomogram, p.name, *p.position) for p in annotations.picks if p.tomogram in there)
    return {
        "picks": hashlib.sha256(json.dumps(picks).encode()).hexdigest(),
        "learnt": {one.path.name: [list(one.known.start), list(one.known.stop)] for one in pool.tomograms},
        "masks": {one.path.name: file_sha256(one.unlabelled) for one in pool.tomograms if one.unlabelled},
    }


def check_labels(folder: Path, labels: Labels) -> None:
    """Check that a run has the labels that it was begun with, if it says which.

    Raises:
        UsageError: E83 if it has others.
    """
    if _read(folder / LABELS) not in ({}, labels):
        problem = "the picks or ignore masks are others than those that it learnt from"
        fix = "train in another folder, picker-training fit -o OTHER, or put the old ones back"
        raise UsageError(83, str(folder), problem, fix)


def _goes_on(before: TrainingConfig, now: TrainingConfig) -> bool:
    """Tell whether a run of one configuration may go on with the other."""
    same = replace(before, optimiser=now.optimiser, workers=now.workers) == now
    return same and before.optimiser.kind == now.optimiser.kind


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content
