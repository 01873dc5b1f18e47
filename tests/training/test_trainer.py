import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from training.phantoms import CLASSES, OneScene

from picker_runtime.errors import EngineError, UsageError
from picker_training.checkpoint import load_checkpoint
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.datasets.scenes import ScenePool, StoredScene
from picker_training.detectors.base import Detector
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector
from picker_training.networks import build_network
from picker_training.trainer import Progress, Trainer, learning_rate

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    seed=1,
    workers=0,
    model=ModelSection(classes=CLASSES),
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(scenes=1, strangers=(), crop=24, halo=4, snr=(1.0, 4.0)),
    optimiser=OptimiserSection(steps=4, batch=2, warmup=2, checkpoint_every=2, validate_every=4),
)


def trainer(scene: StoredScene, folder: Path, **changes: Any) -> Trainer:
    config = replace(CONFIG, optimiser=replace(CONFIG.optimiser, **changes))
    folder.mkdir(exist_ok=True)
    return Trainer(config, cast(ScenePool, OneScene(scene)), folder, CPU)


def run(one: Trainer, *, seconds: float = math.inf) -> tuple[bool, list[Progress], list[int]]:
    """Run a trainer; return whether it is done, its progress and the steps it validated at."""
    progress: list[Progress] = []
    validated: list[int] = []
    done = one.run(progress.append, lambda network, step: validated.append(step), seconds=seconds)
    return done, progress, validated


def state(one: Trainer) -> list[Tensor]:
    return [*one.network.state_dict().values(), *one.average.state_dict().values()]


def saved_step(folder: Path) -> int:
    checkpoint = load_checkpoint(folder)
    return checkpoint.step if checkpoint else 0


def test_a_run_reports_validates_and_saves(stored_scene: StoredScene, tmp_path: Path) -> None:
    done, progress, validated = run(trainer(stored_scene, tmp_path))
    assert done
    assert [p.step for p in progress] == [1, 2, 3, 4]
    assert {p.steps for p in progress} == {4}
    for p in progress:
        assert math.isfinite(p.total)
        weighed = p.parts["objectness"] + 2.0 * p.parts["classes"] + 0.5 * p.parts["offset"]
        assert p.total == pytest.approx(weighed, rel=1e-5)
    assert validated == [4]
    assert saved_step(tmp_path) == 4


def test_a_run_that_is_killed_in_its_first_step_has_a_checkpoint(
    stored_scene: StoredScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    one = trainer(stored_scene, tmp_path)
    monkeypatch.setattr(one, "_train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(one)
    begun = load_checkpoint(tmp_path)
    assert begun is not None
    assert begun.step == 0


def test_a_run_that_was_killed_ends_as_if_it_never_had_been(stored_scene: StoredScene, tmp_path: Path) -> None:
    whole = trainer(stored_scene, tmp_path / "whole")
    run(whole)

    def killed(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(stored_scene, tmp_path / "killed").run(killed, lambda network, step: None)
    assert saved_step(tmp_path / "killed") == 2
    resumed = trainer(stored_scene, tmp_path / "killed")
    _, progress, _ = run(resumed)
    assert [p.step for p in progress] == [3, 4]
    for mine, theirs in zip(state(resumed), state(whole), strict=True):
        assert torch.equal(mine, theirs)


def test_a_finished_run_has_nothing_left_to_do_but_a_validation_that_may_have_been_missed(
    stored_scene: StoredScene, tmp_path: Path
) -> None:
    run(trainer(stored_scene, tmp_path))
    assert run(trainer(stored_scene, tmp_path)) == (True, [], [4])


def test_a_run_stops_when_its_time_is_over_and_goes_on_later(stored_scene: StoredScene, tmp_path: Path) -> None:
    done, progress, validated = run(trainer(stored_scene, tmp_path), seconds=0.0)
    assert (done, len(progress), validated) == (False, 1, [])
    assert saved_step(tmp_path) == 1
    done, progress, _ = run(trainer(stored_scene, tmp_path))
    assert done
    assert [p.step for p in progress] == [2, 3, 4]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_its_checkpoint(
    stored_scene: StoredScene, tmp_path: Path
) -> None:
    one = trainer(stored_scene, tmp_path, validate_every=2)

    def poison(network: Detector, step: int) -> None:
        one.network.head.weight.data.fill_(math.nan)

    with pytest.raises(UsageError, match="not finite at step 2") as caught:
        one.run(lambda progress: None, poison)
    assert caught.value.code == 84
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert all(torch.isfinite(value).all() for value in checkpoint.weights.values())


def test_a_gradient_that_is_not_finite_spoils_no_checkpoint(
    stored_scene: StoredScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the step is finite; without a look at the gradient its weights would be saved, NaN."""
    one = trainer(stored_scene, tmp_path, checkpoint_every=1, validate_every=100)
    weights = next(one.network.parameters())
    weights.register_hook(lambda gradient: gradient * (math.nan if one.step == 2 else 1.0))
    with pytest.raises(UsageError, match="gradient is not finite at step 2"):
        run(one)
    assert saved_step(tmp_path) == 2
    assert all(torch.isfinite(value).all() for value in state(trainer(stored_scene, tmp_path)))


def test_too_little_gpu_memory_is_told_with_what_helps(
    stored_scene: StoredScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trainer(stored_scene, tmp_path)

    def full(*_arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(type(one.network), "forward", full)
    with pytest.raises(
        EngineError, match=r"a batch of 2 cubes of 24 voxels\. Fix: a smaller optimiser\.batch"
    ) as caught:
        run(one)
    assert caught.value.code == 61


def test_what_a_network_draws_is_drawn_again_after_a_stop(
    stored_scene: StoredScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network with dropout ends the same, whatever has been drawn between its steps."""
    forward = PointDetector.forward

    def noisy(self: PointDetector, cubes: Tensor) -> Any:
        return forward(self, torch.nn.functional.dropout(cubes, 0.5, training=self.training))

    monkeypatch.setattr(PointDetector, "forward", noisy)
    whole = trainer(stored_scene, tmp_path / "whole")
    run(whole)
    run(trainer(stored_scene, tmp_path / "stopped"), seconds=0.0)
    torch.rand(7)
    resumed = trainer(stored_scene, tmp_path / "stopped")
    run(resumed)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(state(resumed), state(whole), strict=True))


def test_training_lowers_the_loss(stored_scene: StoredScene, tmp_path: Path) -> None:
    _, progress, _ = run(trainer(stored_scene, tmp_path, steps=40, learning_rate=5e-3, checkpoint_every=1000))
    first, last = (np.mean([p.total for p in part]) for part in (progress[:5], progress[-5:]))
    assert last < 0.8 * first


def test_the_average_follows_the_weights(stored_scene: StoredScene, tmp_path: Path) -> None:
    one = trainer(stored_scene, tmp_path)
    with torch.no_grad():
        one.network.head.weight.fill_(1.0)
        one.average.head.weight.fill_(0.0)
    one.step = 10**6
    one._update_average()
    assert one.average.head.weight.detach().numpy() == pytest.approx(1.0 - CONFIG.optimiser.average, rel=1e-4)
    one.step = 0  # early on it follows faster, lest it remember the untrained weights
    one._update_average()
    assert float(one.average.head.weight.detach().mean()) > 0.85


def test_the_rate_warms_up_and_falls_to_one_percent() -> None:
    config = replace(CONFIG, optimiser=OptimiserSection(steps=1000, warmup=100, learning_rate=2e-3))
    rates = [learning_rate(config, step) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5)
    assert max(rates) == pytest.approx(2e-3) == rates[99] == rates[100]
    assert rates[550] == pytest.approx(2e-3 * 0.505)
    assert rates[1000] == pytest.approx(2e-5)
    assert np.all(np.diff(rates[100:]) <= 0)


def test_the_optimiser_gets_the_rate_of_its_step(stored_scene: StoredScene, tmp_path: Path) -> None:
    one = trainer(stored_scene, tmp_path)
    run(one)
    assert one.optimiser.param_groups[0]["lr"] == learning_rate(one.config, 3)


def test_the_seed_fixes_the_weights() -> None:
    one, same, other = (build_network(replace(CONFIG, seed=seed)).head.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_run_begins_with_given_weights_unless_it_has_a_checkpoint(stored_scene: StoredScene, tmp_path: Path) -> None:
    other = build_network(replace(CONFIG, seed=99))
    one = trainer(stored_scene, tmp_path)
    one.begin_with(other, CLASSES)
    for mine, average, theirs in zip(
        state(one)[: len(other.state_dict())],
        one.average.state_dict().values(),
        other.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(mine, theirs) and torch.equal(average, theirs)
    run(one)
    again = trainer(stored_scene, tmp_path)
    again.begin_with(other, CLASSES)
    run(again)  # its last step was done: nothing is trained, the checkpoint is read
    assert all(torch.equal(a, b) for a, b in zip(state(again), state(one), strict=True))


def test_weights_of_another_size_are_refused(stored_scene: StoredScene, tmp_path: Path) -> None:
    wider = build_network(replace(CONFIG, point=replace(CONFIG.point, widths=(16, 8, 8))))
    with pytest.raises(UsageError, match="E83"):
        trainer(stored_scene, tmp_path).begin_with(wider, CLASSES)


def test_blocks_that_are_missing_begin_by_adding_nothing_and_spare_ones_are_left(
    stored_scene: StoredScene, tmp_path: Path
) -> None:
    deeper, shallow = replace(CONFIG.point, blocks=(1, 0, 2)), replace(CONFIG.point, blocks=(1, 1, 0))
    one = Trainer(replace(CONFIG, point=deeper), cast(ScenePool, OneScene(stored_scene)), tmp_path, CPU)
    other = PointDetector(len(CLASSES), shallow)
    one.begin_with(other, CLASSES)
    mine, theirs = one.network.state_dict(), other.state_dict()
    assert all(torch.equal(mine[key], theirs[key]) for key in mine.keys() & theirs.keys())
    assert {key.split(".")[0] for key in theirs.keys() - mine.keys()} == {"stage4"}
    positive = torch.rand(1, 8, 4, 4, 4)
    assert torch.equal(one.network.eval().stage8(positive), positive)  # type: ignore[operator]


def test_how_the_output_is_read_does_not_matter_for_a_beginning(stored_scene: StoredScene, tmp_path: Path) -> None:
    one = trainer(stored_scene, tmp_path)
    other = PointDetector(len(CLASSES), replace(CONFIG.point, class_window=3))
    one.begin_with(other, CLASSES)
    assert torch.equal(one.network.head.weight, other.head.weight)  # type: ignore[attr-defined]
