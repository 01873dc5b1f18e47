"""Trained detectors in a benchmark: the minutes they get, whatever is timed, killed or done already."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from training.benchmarking.tiny_protocol import TINY

from picker_runtime.detections import Detections
from picker_runtime.errors import UsageError
from picker_training.benchmarking import entries, learned
from picker_training.benchmarking.learned import LearnedMethod, read_spent
from picker_training.benchmarking.method import Work
from picker_training.datasets.shrec import TOMOGRAM
from picker_training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def stretches(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds given to each stretch of training, which makes two steps a second by a clock of its own."""
    clock, given = [0.0], []

    def run(self: Trainer, *_: Any, seconds: float) -> bool:
        given.append(seconds)
        steps = min(int(2 * seconds), self.config.optimiser.steps - self.step)
        self.step += steps
        clock[0] += steps / 2
        self._save()
        return self.step >= self.config.optimiser.steps

    monkeypatch.setattr(learned, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Trainer, "run", run)
    return given


def point(work: Work, phantom_folder: Path) -> LearnedMethod:
    method = entries.ENTRIES["point-s"](work, phantom_folder)
    assert isinstance(method, LearnedMethod)
    return method


def test_no_checkpoint_is_written_between_the_steps_that_are_timed(
    work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Trainer, "_save", lambda self: saved.append(self.step))
    point(work, phantom_folder)._seconds_of_a_step()
    assert saved == [0, learned.TRIAL_STEPS]


def test_a_killed_run_goes_on_with_the_time_that_is_left(
    work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LearnedMethod, "_seconds_of_a_step", lambda self: 60.0 * learned.MARGIN / 7.5)  # 7 steps
    monkeypatch.setattr(learned, "TRIED", 0.0)
    method = point(work, phantom_folder)
    train_step = Trainer._train_step

    def killed(self: Trainer, *batch: Any) -> Any:
        if self.step == 5:
            raise KeyboardInterrupt
        return train_step(self, *batch)

    with monkeypatch.context() as context:
        context.setattr(learned, "with_steps", _checkpoint_every_second)
        context.setattr(Trainer, "_train_step", killed)
        with pytest.raises(KeyboardInterrupt):
            method.train()
    before = read_spent(work.folder)
    assert (before.step, before.done) == (5, False)
    steps: list[int] = []

    def counted(self: Trainer, *batch: Any) -> Any:
        steps.append(self.step)
        return train_step(self, *batch)

    monkeypatch.setattr(Trainer, "_train_step", counted)
    training = method.train()
    assert steps == [4, 5, 6]
    assert (training.steps, training.samples) == (7, 7)
    assert training.seconds > before.seconds > 0.0
    assert method.train() == training
    assert len(steps) == 3


def test_the_time_of_a_killed_run_is_that_of_its_last_checkpoint(
    work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed writes nothing more: what was noted by then is what counts."""
    monkeypatch.setattr(LearnedMethod, "_seconds_of_a_step", lambda self: 60.0 * learned.MARGIN / 5.5)  # 5 steps
    monkeypatch.setattr(learned, "TRIED", 0.0)
    monkeypatch.setattr(learned, "with_steps", _checkpoint_every_second)
    noted: list[learned.Spent] = []
    monkeypatch.setattr(learned, "_write_spent", lambda folder, spent: noted.append(spent))
    point(work, phantom_folder).train()
    assert [(spent.step, spent.done) for spent in noted] == [(2, False), (4, False), (5, True)]
    assert 0.0 < noted[0].seconds < noted[1].seconds < noted[2].seconds


@pytest.mark.parametrize(
    ("seconds_of_a_step", "given"),
    [(1.0, [6.0, 54.0]), (20.0, [6.0, 5.0, 54.0])],  # the plan of two steps is over after one second
)
def test_steps_are_planned_again_by_the_speed_of_the_first_tenth(
    seconds_of_a_step: float, given: list[float], work: Work, phantom_folder: Path, stretches: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(LearnedMethod, "_seconds_of_a_step", lambda self: seconds_of_a_step)
    method = point(work, phantom_folder)
    training = method.train()
    assert stretches == given
    assert (training.steps, training.seconds) == (114, 57.0)  # 12, and 102 in 95 % of the 54 seconds that are left
    assert method.config.optimiser.steps == 114
    assert method.train() == training


def test_the_time_that_was_spent_counts(work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the minute is spent, so one step is made and no second one."""
    monkeypatch.setattr(LearnedMethod, "_seconds_of_a_step", lambda self: 1e-3)
    work.folder.mkdir()
    learned._write_spent(work.folder, learned.Spent(seconds=60.0, step=0, done=False))
    training = point(work, phantom_folder).train()
    assert training.steps == 1
    assert read_spent(work.folder).done


def test_a_killed_run_goes_on_with_its_own_minutes_alone(
    work: Work, phantom_folder: Path, stretches: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LearnedMethod, "_seconds_of_a_step", lambda self: 1.0)
    with monkeypatch.context() as context:
        context.setattr(Trainer, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            point(work, phantom_folder).train()
    with pytest.raises(UsageError, match=r"--minutes 0\.5: .* was run with 1 minutes.* give 1, or another folder"):
        point(replace(work, minutes=0.5), phantom_folder).train()
    assert point(work, phantom_folder).train().seconds == 57.0


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 8.0), ("cuda", 1.0)])
def test_on_a_gpu_the_first_call_is_not_timed(
    device: str, seconds: float, work: Work, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, costs = [0.0], [8.0, 1.0]

    def look(self: LearnedMethod, path: Path) -> None:
        clock[0] += costs.pop(0)

    monkeypatch.setattr(learned, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(LearnedMethod, "network", torch.nn.Identity())
    monkeypatch.setattr(LearnedMethod, "look", look)
    monkeypatch.setattr(LearnedMethod, "picks", lambda *_: None)
    tomogram = work.scenes.test_folder(TINY.difficulties[0]) / TOMOGRAM
    timing = point(replace(work, device=torch.device(device)), phantom_folder).time(tomogram, {})
    assert (timing.seconds, timing.voxels) == (seconds, 32 * 48 * 48)


def test_a_threshold_may_lie_among_the_highest_scores(work: Work, phantom_folder: Path) -> None:
    truth = work.scenes.read(work.scenes.calibration_folder(TINY.difficulties[0]))
    right, wrong = truth.positions, truth.positions + 12.0
    n = len(right)
    found = Detections(
        positions=np.concatenate([right, wrong]), diameters=np.full(2 * n, 10.0),
        scores=np.repeat([0.97, 0.93], n), class_ids=np.tile(truth.class_ids, 2),
    )  # fmt: skip
    settings = point(work, phantom_folder).tune(found, truth)
    assert all(0.93 < threshold <= 0.97 for threshold in settings["thresholds"])


def _checkpoint_every_second(config: Any, steps: int) -> Any:
    return replace(config, optimiser=replace(config.optimiser, steps=steps, checkpoint_every=2, validate_every=steps))
