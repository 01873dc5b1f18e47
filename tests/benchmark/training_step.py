"""What a training step spends its time on: sampling, network, loss, gradient, optimiser.

    python tests/benchmark/training_step.py [--detector point] [--size s] [--threads N] [--steps 10] [--device cpu]

The scene is random numbers with as many particles as the scenes of the benchmark have; nothing is read or kept. In a
run sampling goes on in a process of its own, beside the rest. Times are medians over the steps, in milliseconds.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch

from picker_training.config import DETECTORS, TrainingConfig
from picker_training.datasets.scenes import StoredScene
from picker_training.detectors.options import POINT_SIZES, with_size
from picker_training.device import choose_device, half_precision, has_bfloat16
from picker_training.loading import SampleDataset, collate
from picker_training.networks import build_network
from picker_training.optimisation import build_optimiser
from picker_training.starting import starting_config

SHAPE, PARTICLES, SAMPLED = (128, 256, 256), 416, 65_536
UNTIMED = 2
"""The first steps choose kernels and touch new memory."""

PARTS = ("sampling", "network", "loss", "gradient", "optimiser")


class RandomScenes:
    """One scene of random numbers, as a pool."""

    seed, size = 1, 1

    def __init__(self, classes: int) -> None:
        rng = np.random.default_rng(0)
        volumes = rng.standard_normal((2, *SHAPE), np.float32).astype(np.float16)
        self._scene = StoredScene(
            volumes=volumes,
            sample_signal=volumes[0].ravel()[:SAMPLED].astype(np.float32),
            sample_noise=volumes[1].ravel()[:SAMPLED].astype(np.float32),
            positions=rng.uniform(0, 1, (PARTICLES, 3)) * SHAPE,
            class_ids=rng.integers(0, classes, PARTICLES, np.int32),
        )

    def __getitem__(self, number: int) -> StoredScene:
        return self._scene


def measure(config: TrainingConfig, steps: int, device: torch.device) -> dict[str, float]:
    """Return the median milliseconds of each part of a step."""
    network = build_network(config).to(device=device, memory_format=torch.channels_last_3d).train()
    classes = len(config.model.classes)
    network.prepare(torch.full((classes,), 12.0))
    optimiser = build_optimiser(config, network)
    batch = config.optimiser.batch
    samples = SampleDataset(RandomScenes(classes), config.data, first=0, count=batch * (steps + UNTIMED))
    times: dict[str, list[float]] = {part: [] for part in PARTS}

    def timed(part: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times[part].append(time.perf_counter() - started)
        return made

    for step in range(steps + UNTIMED):
        numbers = range(step * batch, (step + 1) * batch)
        made = timed("sampling", lambda numbers=numbers: collate([samples[i] for i in numbers]))
        cubes = made.cubes.to(device).to(memory_format=torch.channels_last_3d)
        with half_precision(device):
            prediction = timed("network", lambda cubes=cubes: network(cubes))
        loss = timed("loss", lambda p=prediction, b=made: network.loss(p, b, halo=config.data.halo).total)
        optimiser.zero_grad(set_to_none=True)
        timed("gradient", loss.backward)
        timed("optimiser", optimiser.step)
    return {part: 1000.0 * median(values[UNTIMED:]) for part, values in times.items()}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", choices=DETECTORS, default="point")
    parser.add_argument("--size", choices=POINT_SIZES, default="s")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device, options.threads)
    config = starting_config(options.detector)
    config = replace(config, point=with_size(config.point, options.size))
    times = measure(config, options.steps, device)
    total = sum(times.values())
    for part, value in times.items():
        print(f"{part:10} {value:8.1f} ms  {value / total:6.1%}")
    precision = "bfloat16" if has_bfloat16(device) else "float32"
    print(f"{'a step':10} {total:8.1f} ms  {device}, {torch.get_num_threads()} threads, {precision}")


if __name__ == "__main__":
    main()
