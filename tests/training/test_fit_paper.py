"""`picker-training fit --detector paper`: its starting configuration, and a run on phantoms."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.phantoms import write_phantoms
from training.tiny_fit import CONFIG, shrink

from picker_training import cli
from picker_training.config import TrainingConfig, dump_config, load_config
from picker_training.detectors.options import MENDED, PaperOptions
from picker_training.detectors.paper import PaperDetector
from picker_training.run import load_average
from picker_training.starting import STARTING, starting_config

SMALL_NETWORK = {"width": 2, "blocks": (0, 0, 0, 0, 0)}


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("templates"), (*CONFIG.model.classes, "3qm1"))


def tiny(name: str) -> TrainingConfig:
    """Return a starting configuration with a tiny network on tiny scenes."""
    start = starting_config(name)
    return replace(
        start,
        workers=0,
        model=replace(CONFIG.model, detector="paper"),
        paper=replace(start.paper, **SMALL_NETWORK),  # type: ignore[arg-type]
        data=replace(start.data, scenes=2, strangers=("3qm1",), crop=32, halo=4, snr=(1.0, 4.0)),
        optimiser=replace(start.optimiser, steps=3, batch=2, checkpoint_every=2, validate_every=3),
    )


def test_it_begins_with_the_published_training(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["fit", "--detector", "paper", "-o", str(tmp_path / "run"), "--print-config"]) == 0
    (tmp_path / "printed.toml").write_text(capsys.readouterr().out)
    config = load_config(tmp_path / "printed.toml")
    assert config == starting_config("paper")
    assert (config.paper, config.data.crop, config.data.halo) == (PaperOptions(), 64, 8)
    optimiser = config.optimiser
    assert (optimiser.kind, optimiser.batch, optimiser.learning_rate) == ("adam", 32, 1e-3)
    assert (optimiser.warmup, optimiser.average, optimiser.clip_norm) == (0, 0.0, math.inf)


def test_the_mended_network_trains_alike() -> None:
    published, mended = starting_config("paper"), starting_config("paper-mended")
    assert replace(mended, paper=published.paper) == published
    assert mended.paper == MENDED


@pytest.mark.parametrize("name", sorted(STARTING))
def test_every_start_can_be_written_down(name: str, tmp_path: Path) -> None:
    (tmp_path / "start.toml").write_text(dump_config(starting_config(name)))
    assert load_config(tmp_path / "start.toml") == starting_config(name)


@pytest.mark.parametrize("name", ["paper", "paper-mended"])
def test_a_run_on_phantoms(
    name: str, tmp_path: Path, templates: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch.setattr)
    (tmp_path / "tiny.toml").write_text(dump_config(tiny(name)))
    run = tmp_path / "run"
    arguments = ["fit", "--detector", name, "--config", str(tmp_path / "tiny.toml"), "--templates", str(templates)]
    assert cli.run([*arguments, "-o", str(run), "--device", "cpu", "--threads", "1"]) == 0, capsys.readouterr().err
    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3"]
    assert {"object", "background", "box", "classes"} <= set(rows[0])
    assert all(math.isfinite(float(row["total"])) for row in rows)
    network, step = load_average(run, load_config(run / "config.toml"), torch.device("cpu"))
    assert isinstance(network, PaperDetector)
    assert step == 3


def test_a_detector_is_not_changed_under_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.toml").write_text(dump_config(CONFIG))
    options = ["--config", str(tmp_path / "tiny.toml"), "-o", str(tmp_path / "run"), "--print-config"]
    assert cli.run(["fit", "--detector", "paper", *options]) == 2
    assert "has the detector point" in capsys.readouterr().err


@pytest.mark.parametrize(("begun", "asked"), [("paper", "paper-mended"), ("paper-mended", "paper")])
def test_nor_is_it_mended_under_way(begun: str, asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text(dump_config(tiny(begun)))
    (tmp_path / "checkpoint.pt").touch()
    assert cli.run(["fit", "--detector", begun, "-o", str(tmp_path), "--print-config"]) == 0
    capsys.readouterr()
    assert cli.run(["fit", "--detector", asked, "-o", str(tmp_path), "--print-config"]) == 2
    assert "has the detector paper, with other options" in capsys.readouterr().err


def test_an_unknown_detector_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["fit", "--detector", "yolo", "-o", str(tmp_path / "run"), "--print-config"]) == 2
    assert "no such detector" in capsys.readouterr().err


def test_crops_have_to_suit_the_detector(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.crop is 24, expected a multiple of 16 for the detector paper"):
        replace(CONFIG, model=replace(CONFIG.model, detector="paper"))
