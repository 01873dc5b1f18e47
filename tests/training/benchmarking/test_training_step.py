import time

import pytest
import torch
from benchmark import training_step
from benchmark.training_step import PARTS, UNTIMED, measure

from picker_training.config import DataSection, OptimiserSection, TrainingConfig
from picker_training.detectors.options import PointOptions

CONFIG = TrainingConfig(
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(crop=32),
    optimiser=OptimiserSection(batch=2),
)


def test_every_part_of_a_step_is_timed_and_the_first_steps_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, clock = 3, iter(range(10_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))
    times = measure(CONFIG, steps, torch.device("cpu"))
    assert times == dict.fromkeys(PARTS, 1000.0)
    assert next(clock) == 2 * len(PARTS) * (steps + UNTIMED)


def test_the_slow_part_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_collate(samples: object) -> object:
        time.sleep(0.5)
        return real(samples)  # type: ignore[arg-type]

    real = training_step.collate
    monkeypatch.setattr(training_step, "collate", slow_collate)
    times = measure(CONFIG, 1, torch.device("cpu"))
    assert times["sampling"] > 500.0
