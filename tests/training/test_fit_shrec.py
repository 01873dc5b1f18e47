"""`picker-training fit --shrec`: from folders in SHREC layout to the scores of the tomogram that was held out."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.datasets.test_shrec_tomograms import write_model
from training.phantoms import CLASSES, SMALL

from picker_runtime.formats import read_named_picks
from picker_runtime.geometry import Box
from picker_runtime.mrc import MrcFile, write_mrc
from picker_training import calibration, cli, training_data
from picker_training.commands.fit import rule_of
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig, dump_config, load_config
from picker_training.datasets import shrec_tomograms
from picker_training.detectors import point
from picker_training.detectors.options import PointOptions
from picker_training.evaluation import scoring
from picker_training.evaluation.rules import Rule
from picker_training.run import read_diameters
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import Template

CONFIG = TrainingConfig(
    workers=0,
    model=ModelSection(name="tiny", classes=CLASSES),
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(crop=24, halo=4),
    optimiser=OptimiserSection(steps=2, batch=2, warmup=1, checkpoint_every=2, validate_every=2),
)


@pytest.fixture
def data_set(tmp_path: Path, phantoms: list[Template], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", SMALL.shape)
    for number in range(3):
        spec = replace(SMALL, particles=SMALL.particles + number)
        write_model(tmp_path / f"set/model_{number}", simulate(spec, phantoms, number), below=8)
    (tmp_path / "tiny.toml").write_text(dump_config(CONFIG))
    return tmp_path / "set"


def fit(data_set: Path, *options: str) -> int:
    run = data_set.parent / "run"
    arguments = ["fit", "--shrec", str(data_set), "-o", str(run), "--device", "cpu", "--threads", "1"]
    return cli.run([*arguments, *options])


def test_fit_trains_on_some_and_scores_the_others(
    data_set: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point, "RARE", 3.0)  # it begins by finding particles everywhere,
    monkeypatch.setattr(calibration, "THRESHOLD_GRID", np.array([0.25]))  # and a threshold lets all of them pass
    assert fit(data_set, "--held-out", "model_2", "--config", str(data_set.parent / "tiny.toml")) == 0
    out, err = capsys.readouterr()
    run = data_set.parent / "run"
    stored = load_config(run / "config.toml").annotated
    assert (stored.validation, stored.held_out) == ("model_1", ("model_2",))
    assert "step 2/2  loss " in err
    assert out.startswith(f"model_2: {run}/held_out/model_2.csv\n")
    assert "mean class F1" in out
    picks = read_named_picks(run / "held_out/model_2.csv")
    assert len(picks) > 0
    assert {pick.name for pick in picks} <= set(CLASSES)
    assert Box.whole(SMALL.shape).contains(np.array([pick.position for pick in picks])).all()


def test_lists_of_2019_are_scored_by_their_own_rule(
    data_set: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(scoring, "score_files", lambda rule, *_: asked.append(rule))
    monkeypatch.setattr("picker_training.evaluation.report.table", str)
    for path in data_set.glob("*/particle_locations.txt"):
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{name} {z} {y} {x} {' '.join(rest)}\n" for name, x, y, z, *rest in rows))
    options = ("--held-out", "model_2", "--config", str(data_set.parent / "tiny.toml"), "--year", "2019")
    assert fit(data_set, *options) == 0
    assert asked == ["shrec2019"]
    assert fit(data_set, *options, "--rule", "shrec2020") == 2
    assert "E80 --rule shrec2020: reads particle lists in another order" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("year", "rule"), [(0, Rule.SHREC2020), (2019, Rule.SHREC2019), (2020, Rule.SHREC2020), (2021, Rule.SHREC2021)]
)
def test_the_year_chooses_the_rule(year: int, rule: Rule) -> None:
    assert rule_of(year, None) is rule
    assert rule_of(year, rule) is rule


def test_by_distance_the_diameters_are_the_run_s(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, float]] = []
    monkeypatch.setattr(scoring, "score_files", lambda rule, truth, picks, options: asked.append(options.diameters))
    monkeypatch.setattr("picker_training.evaluation.report.table", str)
    for path in data_set.glob("*/particle_locations.txt"):
        path.write_text(path.read_text().upper())
    config = str(data_set.parent / "tiny.toml")
    assert fit(data_set, "--held-out", "model_2", "--config", config, "--rule", "distance") == 0
    known = read_diameters(data_set.parent / "run")
    names = {line.split()[0] for line in (data_set / "model_2/particle_locations.txt").read_text().splitlines()}
    assert asked == [{name: known[name.lower()] for name in names}]


@pytest.mark.parametrize(
    ("options", "stray"),
    [
        (["--ignore-mask", "m.mrc"], "--ignore-mask"), (["--invert"], "--invert"), (["--class", "a"], "--class"),
        (["--validation", "two"], "--validation"), (["--held-out", "x"], "--held-out"), (["--year", "2019"], "--year"),
    ],
)  # fmt: skip
def test_options_about_data_need_the_data(
    options: list[str], stray: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["fit", "-o", str(tmp_path / "run"), *options]) == 2
    assert f"E80 {stray}: says nothing without " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_classes_are_those_of_the_data_set(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = printed(data_set, capsys)
    assert set(config.model.classes) == set(CLASSES)
    assert config.annotated.validation == "model_2"


def test_steps_on_the_command_line_win(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(data_set, "--print-config", "--steps", "77") == 0
    assert "steps = 77" in capsys.readouterr().out


def test_a_tomogram_that_is_not_there_is_told(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(data_set, "--held-out", "model_9") == 2
    assert "name one of model_0, model_1, model_2" in capsys.readouterr().err


def test_picks_count_from_the_slab_and_are_spelled_as_its_list(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reconstruction has 8 slices below the slab; a pick in its slice 10 is one in slice 2 of the slab."""
    from picker_runtime.detections import Detections
    from picker_training import held_out

    made = Detections(
        positions=np.array([[10.0, 20.0, 30.0], [7.0, 20.0, 30.0], [8.0 + SMALL.shape[0], 20.0, 30.0]]),
        diameters=np.full(3, 90.0), scores=np.full(3, 0.9), class_ids=np.zeros(3, np.int32),
    )  # fmt: skip
    for path in data_set.glob("*/particle_locations.txt"):
        path.write_text(path.read_text().upper())
    monkeypatch.setattr(held_out, "picks_of", lambda *_: made)
    assert fit(data_set, "--held-out", "model_2", "--config", str(data_set.parent / "tiny.toml")) == 0
    (pick,) = read_named_picks(data_set.parent / "run/held_out/model_2.csv")
    assert pick.position == (2.0, 20.0, 30.0)
    assert pick.name == CLASSES[0].upper()


def test_a_stated_offset_wins_over_the_masks(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(data_set.parent / "tiny.toml")
    assert fit(data_set, "--z-offset", "40", "--config", config) == 3
    assert "do not fit" in capsys.readouterr().err


def printed(data_set: Path, capsys: pytest.CaptureFixture[str], *options: str) -> TrainingConfig:
    assert fit(data_set, "--print-config", *options) == 0
    (data_set.parent / "printed.toml").write_text(capsys.readouterr().out)
    return load_config(data_set.parent / "printed.toml")


def resample(path: Path, voxel_size: float) -> None:
    """Write another voxel size into a file's header."""
    with MrcFile(path) as file:
        voxels = file.read(Box.whole(file.header.shape))
    write_mrc(path, voxels, voxel_size)


def test_the_voxel_size_is_that_of_the_headers(data_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in data_set.glob("*/reconstruction.mrc"):
        resample(path, 13.48)
    config = printed(data_set, capsys)
    assert (config.model.name, config.model.voxel_size_angstrom) == ("run", 13.48)
    tiny = data_set.parent / "tiny.toml"
    assert fit(data_set, "--config", str(tiny)) == 3
    assert "E30 model_0/reconstruction.mrc: voxel size 13.48 A in the header, the configuration's" in (
        capsys.readouterr().err
    )


def test_a_header_without_voxel_size_leaves_the_configuration_s(
    data_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in data_set.glob("*/reconstruction.mrc"):
        resample(path, 1.0)
    assert printed(data_set, capsys).model.voxel_size_angstrom == 10.0
    assert fit(data_set, "--config", str(data_set.parent / "tiny.toml")) == 0


def test_thresholds_see_the_whole_validation_tomogram(data_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its edges are no multiples of a block's."""
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", (SMALL.shape[0], 40, 30))
    section = shrec_tomograms.begin(data_set, year=0, validation=None, held_out=())
    blocks = training_data.calibration_volumes(replace(CONFIG, annotated=section), None)
    assert sum(block.volume.size for block in blocks) == np.prod(SMALL.shape)
    truth = shrec_tomograms.read_names(data_set / "model_2", section)
    assert sum(len(block.positions) for block in blocks) == len(truth) == SMALL.particles + 2
    assert all(block.volume.shape[1] <= 40 and block.volume.shape[2] <= 30 for block in blocks)
    assert len(blocks[0].positions) == max(len(block.positions) for block in blocks)


def test_minutes_are_told_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr("picker_training.run.fit", lambda *_, seconds, **__: asked.append(seconds))
    for options in (["--minutes", "2.5"], []):
        assert cli.run(["fit", "-o", str(tmp_path / "run"), "--device", "cpu", "--threads", "1", *options]) == 0
    assert asked == [150.0, math.inf]
