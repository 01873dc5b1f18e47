from dataclasses import replace
from typing import Any

import pytest
import torch

from picker_training.config import OptimiserSection, TrainingConfig
from picker_training.detectors.options import PointOptions
from picker_training.muon import Muon
from picker_training.networks import build_network
from picker_training.optimisation import build_optimiser, learning_rate

CONFIG = TrainingConfig(point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)))


def config(**settings: Any) -> TrainingConfig:
    return replace(CONFIG, optimiser=OptimiserSection(**settings))


def test_adam_s_rate_falls_once_to_a_tenth_after_two_thirds() -> None:
    made = config(kind="adam", steps=150, warmup=0, learning_rate=1e-3)
    rates = [learning_rate(made, step) for step in range(150)]
    assert rates[:100] == [1e-3] * 100
    assert rates[100:] == pytest.approx([1e-4] * 50)


def test_adam_may_warm_up_too() -> None:
    made = config(kind="adam", steps=150, warmup=10, learning_rate=1e-3)
    assert [learning_rate(made, step) for step in (0, 4, 9, 10)] == pytest.approx([1e-4, 5e-4, 1e-3, 1e-3])


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_a_short_run_warms_up_shorter_and_comes_down(kind: str) -> None:
    made = config(kind=kind, steps=60, warmup=200, learning_rate=1e-3)
    rates = [learning_rate(made, step) for step in range(60)]
    assert rates[:7] == pytest.approx([1e-3 * n / 6 for n in (1, 2, 3, 4, 5, 6)] + [1e-3])
    assert rates[-1] < 0.11e-3


def test_without_warm_up_the_first_step_has_the_whole_rate() -> None:
    assert learning_rate(config(warmup=0, learning_rate=1e-3), 0) == 1e-3


@pytest.mark.parametrize(("kind", "made"), [("muon", Muon), ("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)])
def test_the_kind_is_the_optimiser_s(kind: str, made: type) -> None:
    settings = config(kind=kind, weight_decay=0.01, learning_rate=3e-3)
    optimiser = build_optimiser(settings, build_network(settings))
    assert type(optimiser) is made
    assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (3e-3, 0.01)


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of muon, adamw, adam"):
        OptimiserSection(kind="sgd")
