"""Train every detector for a few steps in this process, then in two that are forked from it; print how far they differ.

    python forked_ranks.py FOLDER

Prints, as JSON, by detector: the losses of both, the largest difference of a weight over the learning rate, and the
ratio of their mean gradients, which the optimisers themselves do not heed.
"""

import json
import multiprocessing
import os
import socket
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from picker_training import parallel
from picker_training import trainer as trainer_module
from picker_training.augmentation import Augmentation, Sample
from picker_training.checkpoint import Checkpoint, load_checkpoint
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.detectors.options import PaperOptions, PointOptions, UNetOptions
from picker_training.trainer import Trainer

CPU = torch.device("cpu")
DIAMETERS = torch.tensor([4.0, 6.0])
TINY = PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0), deep_supervision=0.5, sphere_weight=0.5)
OPTIONS = {
    "point": TINY,
    "point, aligned": replace(TINY, assignment="aligned", objectness_loss="varifocal", objectness="classes"),
    "unet": UNetOptions(widths=(4, 8)),
    "paper": PaperOptions(width=2, blocks=(1, 1, 1, 1, 1)),
}


@dataclass(frozen=True)
class Noise:
    """A pool of cubes of noise with particles anywhere: some samples have none, one voxel in ten is unknown."""

    seed: int = 3
    size: int = 5

    def __getitem__(self, number: int) -> "Noise":
        return self

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        edge = augmentation.crop
        count = int(rng.integers(0, 6))
        return Sample(
            cube=rng.standard_normal((edge, edge, edge)).astype(np.float32),
            positions=rng.uniform(0, edge - 1, (count, 3)).astype(np.float32),
            class_ids=rng.integers(0, 2, count),
            unknown=rng.random((edge, edge, edge)) < 0.1 if rng.random() < 0.5 else None,
        )


def config_of(detector: str, options: object) -> TrainingConfig:
    return TrainingConfig(
        workers=0,
        model=ModelSection(classes=("one", "two"), detector=detector),
        data=DataSection(crop=32, halo=4),
        optimiser=OptimiserSection(steps=3, batch=4, learning_rate=1e-4, warmup=1, clip_norm=1e9, validate_every=100),
        **{detector: options},  # type: ignore[arg-type]
    )


def train(config: TrainingConfig, folder: Path) -> list[float]:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trainer_module.half_precision = lambda device: nullcontext()
    trainer = Trainer(config, Noise(), folder, CPU, parallel.current())
    trainer.network.prepare(DIAMETERS)
    losses: list[float] = []
    trainer.run(lambda progress: losses.append(progress.total), lambda network, step: None)
    return losses


def rank(number: int, port: int, configs: dict[str, TrainingConfig], folder: Path) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with parallel.joined("cpu"):
        for name, config in configs.items():
            losses = train(config, folder / name)
            if number == 0:
                (folder / name / "losses.json").write_text(json.dumps(losses))


def mean_gradient(run: Checkpoint | None) -> float:
    """Return the norm of the optimiser's moving average of the gradient: AdamW's or, of kernels, Muon's."""
    states = run.optimiser["state"].values()  # type: ignore[union-attr]
    averages = [state["exp_avg"] if "exp_avg" in state else state["momentum"] for state in states]
    return float(torch.cat([average.flatten() for average in averages]).norm())


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Train and compare."""
    folder = Path(sys.argv[1])
    configs = {name: config_of(name.partition(",")[0], options) for name, options in OPTIONS.items()}
    context = multiprocessing.get_context("fork")
    port = free_port()
    ranks = [context.Process(target=rank, args=(n, port, configs, folder / "two")) for n in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(500)
    report = {}
    for name, config in configs.items():
        alone = train(config, folder / "one" / name)
        both = json.loads((folder / "two" / name / "losses.json").read_text())
        one, two = (load_checkpoint(folder / part / name) for part in ("one", "two"))
        differences = [
            float((one.weights[k].double() - two.weights[k].double()).abs().max()) / config.optimiser.learning_rate
            for k in one.weights
        ]
        moments = [mean_gradient(run) for run in (one, two)]
        report[name] = {
            "alone": alone, "both": both, "difference": max(differences), "gradient": moments[1] / moments[0],
        }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
