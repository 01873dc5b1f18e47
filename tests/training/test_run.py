import csv
import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.phantoms import CLASSES, SMALL, write_phantoms

from picker_runtime.detections import Detections
from picker_runtime.errors import UsageError
from picker_training import cli, training_data
from picker_training import run as training_run
from picker_training.checkpoint import load_checkpoint
from picker_training.choice import Choice
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig, dump_config, load_config
from picker_training.datasets import scenes
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector
from picker_training.networks import build_network
from picker_training.run import Score, load_average, validation_score
from picker_training.simulator.templates import Template, load_templates
from picker_training.trainer import Trainer
from picker_training.training_data import open_data

CONFIG = TrainingConfig(
    workers=0,
    model=ModelSection(name="tiny", classes=CLASSES),
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(scenes=2, strangers=("3qm1",), crop=24, halo=4, snr=(1.0, 4.0)),
    optimiser=OptimiserSection(steps=3, batch=2, warmup=1, checkpoint_every=2, validate_every=2),
)
LOADED_ONCE = functools.cache(load_templates)


@pytest.fixture(autouse=True)
def small_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "load_templates", LOADED_ONCE)
    monkeypatch.setattr(scenes, "training_spec", lambda rng, voxel_size: replace(SMALL, strangers=1))
    monkeypatch.setattr(training_data, "VALIDATION_SHAPE", SMALL.shape)
    monkeypatch.setattr(training_data, "VALIDATION_PARTICLES", 6)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("templates"), (*CLASSES, "3qm1"))


@pytest.fixture
def fit(tmp_path: Path, templates: Path) -> Callable[..., int]:
    """The command `picker-training fit` on a tiny configuration."""
    (tmp_path / "tiny.toml").write_text(dump_config(CONFIG))

    def command(*options: str) -> int:
        arguments = ["--templates", str(templates), "-o", str(tmp_path / "run"), "--device", "cpu", "--threads", "1"]
        return cli.run(["fit", *arguments, *options])

    return command


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_leaves_a_complete_run(fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert fit("--config", str(tmp_path / "tiny.toml")) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 3/3  loss " in err
    assert "step 2: localisation F1 " in err
    assert re.search(r"^step 3/3  loss .* steps/s  0 s left  F1 0\.\d{3} class F1 0\.\d{3}$", err, re.MULTILINE)
    assert load_config(run / "config.toml") == CONFIG
    assert set(json.loads((run / "classes.json").read_text())) == set(CLASSES)
    assert [row["step"] for row in rows(run / "log.csv")] == ["3"]
    assert [row["step"] for row in rows(run / "validation.csv")] == ["2", "3"]
    assert (run / "checkpoint.pt").exists()
    assert not list(run.glob(".picker-*"))


def test_the_same_call_goes_on_with_a_run_that_was_stopped(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--config", str(tmp_path / "tiny.toml"), "--minutes", "0") == 0
    assert "not finished: the same call goes on" in capsys.readouterr().err
    assert not (tmp_path / "run/log.csv").exists()
    assert fit() == 0  # its own configuration
    assert "not finished" not in capsys.readouterr().err
    assert [row["step"] for row in rows(tmp_path / "run/log.csv")] == ["3"]


def test_another_network_is_another_run(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--config", str(tmp_path / "tiny.toml"), "--minutes", "0") == 0
    capsys.readouterr()
    other = replace(CONFIG, point=replace(CONFIG.point, widths=(16, 16, 16)))
    (tmp_path / "other.toml").write_text(dump_config(other))
    assert fit("--config", str(tmp_path / "other.toml")) == 2
    assert capsys.readouterr().err.startswith("picker: E83 ")
    assert load_config(tmp_path / "run/config.toml") == CONFIG


def test_a_missing_template_is_told_before_any_work(tmp_path: Path, templates: Path) -> None:
    config = replace(CONFIG, model=replace(CONFIG.model, classes=("3gl1", "9xyz")))
    with pytest.raises(UsageError, match="'9xyz'"):
        training_run.fit(tmp_path / "run", config, templates, torch.device("cpu"))
    assert not (tmp_path / "run/scenes").exists()


def test_diameters_are_those_of_the_templates(tmp_path: Path, templates: Path, phantoms: list[Template]) -> None:
    data = open_data(tmp_path, CONFIG, templates, torch.device("cpu"))
    assert data.diameters_angstrom == {t.name: round(t.diameter_angstrom, 1) for t in phantoms}


def test_scenes_need_templates(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--templates"):
        open_data(tmp_path, CONFIG, None, torch.device("cpu"))


def test_print_config_prints_what_can_be_read_back(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--config", str(tmp_path / "tiny.toml"), "--print-config") == 0
    assert capsys.readouterr().out == dump_config(CONFIG)
    assert not (tmp_path / "run").exists()


def test_a_configuration_is_printed_edited_and_kept_beside_the_run(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = tmp_path / "tiny.toml"
    assert fit("--config", str(edited), "--print-config") == 0
    edited.write_text(capsys.readouterr().out.replace("average = 0.998", "average = 0.5"))
    assert fit("--config", str(edited), "--minutes", "0") == 0
    assert load_config(tmp_path / "run/config.toml") == replace(
        CONFIG, optimiser=replace(CONFIG.optimiser, average=0.5)
    )


def test_an_unknown_key_is_an_error_and_no_run_is_begun(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(dump_config(CONFIG).replace("average = ", "averages = "))
    assert fit("--config", str(wrong)) == 2
    line = f"picker: E83 {wrong}: unknown key optimiser.averages. Fix: did you mean 'average'."
    assert capsys.readouterr().err.splitlines() == [line]
    assert not (tmp_path / "run").exists()


def test_of_equally_good_averages_the_last_is_kept(
    fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        training_run, "validation_score",
        lambda network, config, diameters, volume, step: Score(step=step, f1=0.9, class_f1=1.0, centre_error=1),
    )  # fmt: skip
    for steps in ("3", "4"):
        assert fit("--config", str(tmp_path / "tiny.toml"), "--steps", steps) == 0
    assert load_average(tmp_path / "run", CONFIG, torch.device("cpu"), Choice.BEST)[1] == 4


def test_the_best_average_is_kept_and_taken(
    fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    f1_at = {2: 0.6, 3: 0.9, 4: 0.8}
    monkeypatch.setattr(
        training_run, "validation_score",
        lambda network, config, diameters, volume, step: Score(step=step, f1=f1_at[step], class_f1=0.1, centre_error=1),
    )  # fmt: skip
    run, config = tmp_path / "run", replace(CONFIG, optimiser=replace(CONFIG.optimiser, steps=3))
    averages = {}
    for steps in ("3", "4"):
        assert fit("--config", str(tmp_path / "tiny.toml"), "--steps", steps) == 0
        averages[int(steps)] = load_average(run, config, torch.device("cpu"), Choice.LAST)
    assert {step for _, step in averages.values()} == {3, 4}
    for choice in (Choice.BEST, None):
        best, step = load_average(run, config, torch.device("cpu"), choice)
        assert step == 3
        assert torch.equal(best.head.weight, averages[3][0].head.weight)  # type: ignore[union-attr, arg-type]
        assert not torch.equal(best.head.weight, averages[4][0].head.weight)  # type: ignore[union-attr, arg-type]
    (run / "best.pt").unlink()
    assert load_average(run, config, torch.device("cpu"))[1] == 4
    with pytest.raises(UsageError, match="no validated checkpoint"):
        load_average(run, config, torch.device("cpu"), Choice.BEST)


def test_the_pool_holds_classes_and_strangers(tmp_path: Path, templates: Path) -> None:
    alone = replace(CONFIG, data=replace(CONFIG.data, strangers=()))
    mixed, clean = (
        open_data(tmp_path / name, config, templates, torch.device("cpu")).pool
        for name, config in (("mixed", CONFIG), ("clean", alone))
    )
    assert (mixed.size, mixed.seed) == (2, 1)
    one, other = mixed[1], clean[1]
    assert isinstance(one, scenes.StoredScene)
    assert isinstance(other, scenes.StoredScene)
    assert set(one.class_ids.tolist()) == {0, 1, 2}
    assert np.array_equal(one.positions, other.positions)
    assert np.array_equal(one.class_ids, other.class_ids)
    assert not np.allclose(one.volumes[0], other.volumes[0], atol=0.1)


def test_validation_scores_picks_by_place_and_class(
    tmp_path: Path, templates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_data(tmp_path, CONFIG, templates, torch.device("cpu"))
    diameters = dict(zip(CLASSES, (60.0, 100.0, 80.0), strict=True))  # 3, 5 and 4 voxels to the reach
    truth = replace(
        data.validation,
        positions=np.array([[8.0, 8, 8], [8, 24, 8], [8, 8, 32], [24, 24, 32]], np.float32),
        class_ids=np.array([0, 0, 1, 2], np.int32),
    )
    made = Detections(
        positions=np.array([[8.0, 8, 10.9], [8, 24, 11.1], [8, 12, 32], [24, 24, 32]]),
        diameters=np.full(4, 60.0), scores=np.array([0.9, 0.8, 0.7, 0.6]), class_ids=np.array([0, 0, 1, 1], np.int32),
    )  # fmt: skip
    monkeypatch.setattr(training_run, "picks_of", lambda candidates, card, voxel_size: made)
    score = validation_score(build_network(CONFIG).eval(), CONFIG, diameters, truth, 7)
    assert truth.voxel_size == 10.0
    assert (score.step, score.f1) == (7, pytest.approx(0.75))  # the second pick is a tenth of a voxel too far
    assert score.class_f1 == pytest.approx(np.mean([0.5, 2 / 3, 0.0]))  # the last is of another class
    assert score.centre_error == pytest.approx((2.9 + 4.0 + 0.0) / 3, abs=1e-4)


def test_validation_scores_a_network_by_the_runtime_s_own_detection(tmp_path: Path, templates: Path) -> None:
    data = open_data(tmp_path, CONFIG, templates, torch.device("cpu"))
    score = validation_score(build_network(CONFIG).eval(), CONFIG, data.diameters_angstrom, data.validation, 7)
    assert isinstance(score, Score)
    assert score.step == 7
    assert 0.0 <= score.f1 <= 1.0
    assert np.isnan(score.centre_error) or score.centre_error >= 0.0


def test_a_run_that_begins_with_a_model_says_so(
    fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "load_network", lambda bundle: PointDetector(12, CONFIG.point))
    assert fit("--config", str(tmp_path / "tiny.toml"), "--from", "shrec12") == 0
    origin = json.loads((tmp_path / "run/begun_with.json").read_text())
    assert (origin["model"], origin["training"]["crop"]) == ("shrec12", 96)


@pytest.mark.parametrize("killed_at", ["open_data", "Trainer", "Trainer.run"])
def test_a_run_that_is_killed_before_its_first_step_still_begins_with_the_model(
    killed_at: str, fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = PointDetector(12, CONFIG.point)
    monkeypatch.setattr(training_run, "load_network", lambda bundle: model)
    call = ("--config", str(tmp_path / "tiny.toml"), "--from", "shrec12")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as here:
        here.setattr(f"picker_training.run.{killed_at}", killed)
        assert fit(*call) == 130
    if killed_at != "open_data":
        assert fit() == 2
        assert "the run is to begin with shrec12" in capsys.readouterr().err
    assert fit(*call, "--minutes", "0") == 0
    assert fit() == 0
    assert json.loads((tmp_path / "run/begun_with.json").read_text())["model"] == "shrec12"


def test_weights_of_before_the_first_step_are_no_model(
    fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setattr(Trainer, "_train_step", lambda *_: 1 / 0)
        fit("--config", str(tmp_path / "tiny.toml"))
    assert load_checkpoint(tmp_path / "run") is not None
    with pytest.raises(UsageError, match=r"E83 .*no checkpoint in it.*train first"):
        load_average(tmp_path / "run", CONFIG, torch.device("cpu"))


def test_a_run_under_way_does_not_claim_another_beginning(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("--config", str(tmp_path / "tiny.toml"), "--minutes", "0") == 0
    assert fit("--from", "shrec12") == 2
    assert "the run began with untrained weights, not with shrec12" in capsys.readouterr().err
    assert not (tmp_path / "run/begun_with.json").exists()


def test_a_start_that_failed_binds_nothing(fit: Callable[..., int], tmp_path: Path) -> None:
    other = replace(CONFIG, model=ModelSection(name="tiny", classes=("3gl1", "9xyz")))
    (tmp_path / "other.toml").write_text(dump_config(other))
    assert fit("--config", str(tmp_path / "other.toml")) == 2
    assert fit("--config", str(tmp_path / "tiny.toml"), "--minutes", "0") == 0
    assert load_config(tmp_path / "run/config.toml") == CONFIG


def test_a_finished_run_says_that_nothing_is_left_to_do(
    fit: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = "note: step 3/3: already done; give another folder with -o to train anew"
    assert fit("--config", str(tmp_path / "tiny.toml")) == 0
    assert done not in capsys.readouterr().err
    assert fit() == 0
    assert done in capsys.readouterr().err.splitlines()


def test_a_gpu_is_fed_by_all_threads_unless_the_configuration_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "available_threads", lambda: 12)
    made, gpu = TrainingConfig(), torch.device("cuda")
    assert training_run.fed(made, gpu).workers == 12
    assert training_run.fed(replace(made, workers=3), gpu).workers == 3
    assert training_run.fed(made, torch.device("cpu")) == made


def test_the_workers_that_feed_a_gpu_are_not_written_into_the_configuration(
    fit: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    monkeypatch.setattr(training_run, "fed", lambda config, device: replace(config, workers=1))
    original = training_run.Trainer
    monkeypatch.setattr(
        training_run, "Trainer", lambda config, *rest: used.append(config.workers) or original(config, *rest)
    )
    assert fit("--config", str(tmp_path / "tiny.toml")) == 0
    assert load_config(tmp_path / "run/config.toml").workers == load_config(tmp_path / "tiny.toml").workers == 0
    assert used == [1]


def test_calibration_volumes_are_scenes_of_every_seed_and_snr(templates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", (48, 64, 64))
    monkeypatch.setattr(training_data, "CALIBRATION_PARTICLES", 12)
    monkeypatch.setattr(training_data, "CALIBRATION_SEEDS", (8001, 8002))
    monkeypatch.setattr(training_data, "CALIBRATION_SNRS", (0.5, 0.1))
    made = training_data.calibration_volumes(CONFIG, templates)
    assert len(made) == 4
    assert all(scene.volume.shape == (48, 64, 64) and len(scene.positions) > 0 for scene in made)
    assert np.array_equal(made[0].positions, made[1].positions)
    assert made[0].volume.std() < made[1].volume.std()
    assert not np.array_equal(made[0].positions, made[2].positions)


def test_a_configuration_is_printed_without_a_folder_and_a_run_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["fit", "--detector", "paper", "--print-config"]) == 0
    assert 'detector = "paper"' in capsys.readouterr().out
    assert cli.run(["fit"]) == 2
    assert "E80 --output: missing" in capsys.readouterr().err
