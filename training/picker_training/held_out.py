"""The final test of a run on annotated tomograms: picks in those that it held out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from picker_runtime.card import ModelCard
from picker_runtime.formats import find_writer
from picker_runtime.formats.base import FormatContext
from picker_runtime.scanning import Scanner
from picker_runtime.tomogram import Tomogram
from picker_training.calibration import calibrated, candidates_of, picks_of
from picker_training.config import TrainingConfig
from picker_training.datasets.shrec import read_truth
from picker_training.datasets.shrec_tomograms import reconstruction
from picker_training.model_card import decoded, draft_card
from picker_training.run import load_average, read_diameters
from picker_training.torch_engine import TorchEngine
from picker_training.training_data import calibration_volumes

HELD_OUT = "held_out"


def pick_held_out(run: Path, config: TrainingConfig, device: torch.device) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of each held-out tomogram with the file of its picks, RUN/held_out/NAME.csv.

    Thresholds are chosen on the validation tomogram. Positions are those of the folder's particle list: voxels of the
    slab that its truth covers, not of the whole reconstruction; picks outside it are left out. Classes are spelled as
    in that list.

    Raises:
        UsageError: E83 if the run has no checkpoint.
    """
    if not config.annotated.held_out:
        return
    network, _ = load_average(run, config, device)
    card = draft_card(config, read_diameters(run))
    (run / HELD_OUT).mkdir(exist_ok=True)
    with TorchEngine(decoded(network, card)) as engine:
        volumes = calibration_volumes(config, None)
        found = [candidates_of(engine, card, volume) for volume in volumes]
        card = calibrated(card, found, volumes, fractions=network.nms_fractions)
        for name in config.annotated.held_out:
            folder = Path(config.annotated.shrec) / name
            yield folder, _pick_one(engine, card, folder, config, run / HELD_OUT)


def _pick_one(engine: TorchEngine, card: ModelCard, folder: Path, config: TrainingConfig, output: Path) -> Path:
    volume = reconstruction(folder, config.annotated)
    scanner = Scanner(engine=engine, card=card, tile=None, halo=card.halo)
    with Tomogram.open(volume.path, voxel_size=card.voxel_size_angstrom) as tomogram:
        candidates = scanner.scan(tomogram).candidates
    picks = picks_of(candidates, card, card.voxel_size_angstrom)
    picks = picks.select(volume.slab.contains(picks.positions))
    picks = replace(picks, positions=picks.positions - np.array([volume.z_offset, 0.0, 0.0]))
    spelled = {name.lower(): name for name in read_truth(folder).names}
    context = FormatContext(
        tomogram=folder.name, shape=volume.slab.shape, voxel_size=card.voxel_size_angstrom,
        class_names=tuple(spelled.get(name, name) for name in card.class_names),
    )  # fmt: skip
    (path,) = find_writer("csv")(output, folder.name, picks, context)
    return path
