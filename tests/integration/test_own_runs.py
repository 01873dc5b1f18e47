"""A run on one's own tomogram that is begun wrongly, stopped, told of other picks or repeated when it is done."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.labelled import SHAPE, Labelled, labelled

from picker_export.bundling import ExportOptions, export_run
from picker_runtime.errors import UsageError
from picker_runtime.mrc import write_mrc
from picker_training import cli
from picker_training.config import DataSection, OptimiserSection, TrainingConfig, dump_config, load_config
from picker_training.detectors.options import PointOptions

TINY = TrainingConfig(
    workers=0, point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)), data=DataSection(crop=24, halo=4),
    optimiser=OptimiserSection(steps=2, batch=2, warmup=1, checkpoint_every=1, validate_every=2),
)  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Labelled:
    data = labelled(tmp_path / "own")
    data.write(data.places)
    (tmp_path / "tiny.toml").write_text(dump_config(TINY))
    return data


@pytest.fixture
def fit(own: Labelled, tmp_path: Path) -> Callable[..., int]:
    """The command `picker-training fit` on the tomogram."""
    data = ["--tomograms", str(own.tomograms), "--picks", str(own.picks / "one.csv"), "--class", "ball"]
    given = [*data, "-o", str(tmp_path / "run"), "--device", "cpu", "--threads", "1"]

    def command(*options: str) -> int:
        return cli.run(["fit", *given, *options])

    return command


def test_corrected_picks_are_no_part_of_a_run_that_learnt_from_others(
    fit: Callable[..., int], own: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = ("--config", str(tmp_path / "tiny.toml"))
    assert fit(*tiny) == 0
    assert fit(*tiny) == 0
    assert "step 2/2: already done" in capsys.readouterr().err
    own.write(own.places[:-1])
    assert fit(*tiny) == 2
    assert f"E83 {tmp_path / 'run'}: the picks or ignore masks are others" in capsys.readouterr().err
    options = ExportOptions(version="1", precisions=("fp32",))
    with pytest.raises(UsageError, match=r"E83 .*picker-training fit -o OTHER, or put the old ones back"):
        export_run(tmp_path / "run", None, tmp_path / "model", options, lambda line: None)
    own.write(own.places)
    assert fit(*tiny) == 0


def test_a_start_that_is_refused_leaves_the_folder_free(fit: Callable[..., int], tmp_path: Path) -> None:
    tiny = ("--config", str(tmp_path / "tiny.toml"))
    assert fit(*tiny, "--border", "0", "14", "22") == 2  # E84: too small to be parted
    assert not (tmp_path / "run/config.toml").exists()
    assert fit(*tiny, "--border", "2", "2", "2") == 0
    assert load_config(tmp_path / "run/config.toml").picks.border == (2, 2, 2)


def test_a_configuration_that_was_put_into_the_folder_is_that_of_the_run(
    fit: Callable[..., int], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(dump_config(replace(TINY, model=replace(TINY.model, name="own"))))
    assert fit("--minutes", "0") == 0
    assert load_config(run / "config.toml").optimiser == TINY.optimiser


def test_few_particles_that_judge_are_counted(
    fit: Callable[..., int], own: Labelled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the middle is masked; the block at the end of x holds so many picks that count."""
    mask = np.ones(SHAPE, np.int8)
    mask[:, :, 20:64] = 0
    write_mrc(tmp_path / "mask.mrc", mask, 10.0)
    assert fit("--config", str(tmp_path / "tiny.toml"), "--ignore-mask", str(tmp_path / "mask.mrc")) == 0
    learnt = json.loads((tmp_path / "run/labels.json").read_text())["learnt"]["one.mrc"]
    assert learnt[0] == [0, 0, 0]
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: particles")]
    assert line.startswith("note: particles that judge the run: ")
    assert 0 < int(line.split(": ")[2].split(";")[0]) < 10
