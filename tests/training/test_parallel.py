"""Several processes learn what one learns, and are heard as one."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
import torch
from torch import distributed
from training import forked_ranks, tiny_fit
from training.phantoms import CLASSES, write_phantoms

from picker_runtime.console import Stopped
from picker_runtime.errors import UsageError
from picker_training import cli
from picker_training.config import dump_config
from picker_training.loading import Batch, concatenated, shares
from picker_training.parallel import Hushed, Ranks, check_batch, joined

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("parallel")
    templates = write_phantoms(folder / "templates", (*CLASSES, "3qm1"))
    (folder / "tiny.toml").write_text(dump_config(tiny_fit.CONFIG))
    given = ["--config", str(folder / "tiny.toml"), "--templates", str(templates)]
    return [*given, "--device", "cpu", "--threads", "1", "--steps", "8"]


def torchrun(processes: int, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, str(processes), tiny_fit.__file__, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=ONE_THREAD | environment)


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def lines(stderr: str, start: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.startswith(start)]


def test_ranks_share_a_batch_without_doubles() -> None:
    of_ranks = [shares(4, 3, rank=rank, ranks=2) for rank in range(2)]
    assert of_ranks == [[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7], [10, 11]]]
    assert shares(4, 2, rank=0, ranks=1) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_shares_are_equal_or_refused() -> None:
    check_batch(6, Ranks(rank=0, count=3))
    with pytest.raises(UsageError, match="6, expected a multiple of the 4 processes"):
        check_batch(6, Ranks(rank=0, count=4))


def test_batches_are_joined_in_order_with_and_without_unknown_voxels() -> None:
    def batch(value: float, unknown: torch.Tensor | None) -> Batch:
        one = torch.full((1, 1, 2, 2, 2), value)
        return Batch(one, [torch.full((1, 3), value)], [torch.tensor([int(value)])], [torch.zeros(0, 4)], unknown)

    whole = concatenated([batch(1.0, None), batch(2.0, torch.ones(1, 2, 2, 2, dtype=torch.bool))])
    assert whole.cubes[:, 0, 0, 0, 0].tolist() == [1.0, 2.0]
    assert [ids.tolist() for ids in whole.class_ids] == [[1], [2]]
    assert whole.unknown is not None
    assert whole.unknown.flatten(1).any(dim=1).tolist() == [False, True]
    assert concatenated([batch(1.0, None), batch(2.0, None)]).unknown is None


def test_two_processes_learn_what_one_learns_with_every_detector(tmp_path: Path) -> None:
    command = [sys.executable, forked_ranks.__file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert set(forked_ranks.OPTIONS) == report.keys()
    for name, of_detector in report.items():
        assert of_detector["both"] == pytest.approx(of_detector["alone"], rel=1e-3), name
        assert of_detector["gradient"] == pytest.approx(1.0, abs=0.01), name
    for name in ("point", "point, aligned", "unet"):  # two channels of `paper` amplify rounding
        assert report[name]["difference"] < 0.2


@pytest.fixture
def alone_in_torchrun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make this process the one rank of a run, in which SIGTERM raises what it raises in a command."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped(number)

    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("alone_in_torchrun")
def test_a_rank_that_fails_says_why_though_it_is_stopped_then(monkeypatch: pytest.MonkeyPatch) -> None:
    leave = distributed.destroy_process_group
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: (signal.raise_signal(signal.SIGTERM), leave()))
    with pytest.raises(UsageError, match="a reason"), joined("cpu"):
        raise UsageError(83, "batch", "a reason", "a fix")


@pytest.mark.usefixtures("alone_in_torchrun")
def test_a_rank_that_is_stopped_before_it_has_joined_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Hushed) as hushed, joined("cpu"):
        pass
    assert hushed.value.status == 128 + signal.SIGTERM


@pytest.mark.long
def test_torchrun_trains_one_run_and_one_process_speaks(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = torchrun(2, "-o", str(tmp_path / "two"), *options, PICKER_SAMPLES=str(tmp_path / "of_two"))
    assert both.returncode == 0, both.stderr
    tiny_fit.shrink(monkeypatch.setattr)
    tiny_fit.record_samples(tmp_path / "of_one", monkeypatch.setattr, lambda count: None)
    assert cli.run(["fit", "-o", str(tmp_path / "one"), *options]) == 0
    samples, first, second = ((tmp_path / name).read_text().split() for name in ("of_one", "of_two", "of_two.1"))
    assert (samples[::2], samples[1::2]) == (first, second)
    for mine, theirs in zip(rows(tmp_path / "two/log.csv"), rows(tmp_path / "one/log.csv"), strict=True):
        assert mine | {"seconds": 0} == pytest.approx(theirs | {"seconds": 0}, rel=2e-3)
    for mine, theirs in zip(rows(tmp_path / "two/validation.csv"), rows(tmp_path / "one/validation.csv"), strict=True):
        assert mine == pytest.approx(theirs, abs=0.02, nan_ok=True)
    of_both, of_one = lines(both.stderr, "step "), lines(capsys.readouterr().err, "step ")
    assert [line.split("  ")[0] for line in of_both] == [line.split("  ")[0] for line in of_one]


@pytest.mark.long
@pytest.mark.parametrize("dead", [0, 1])
def test_a_process_that_dies_ends_all_with_one_line(dead: int, options: list[str], tmp_path: Path) -> None:
    killed = torchrun(
        2,
        "-o",
        str(tmp_path / "run"),
        *options,
        PICKER_SAMPLES=str(tmp_path / "made"),
        PICKER_SIGNAL=f"{dead},SIGKILL 6",
    )
    assert killed.returncode != 0
    assert len(lines(killed.stderr, "picker: ")) == 1
    again = torchrun(2, "-o", str(tmp_path / "run"), *options)
    assert again.returncode == 0, again.stderr
    assert [row["step"] for row in rows(tmp_path / "run/log.csv")] == list(range(1, 9))


@pytest.mark.long
def test_a_wrong_configuration_is_told_once(options: list[str], tmp_path: Path) -> None:
    refused = torchrun(3, "-o", str(tmp_path / "run"), *options)
    assert refused.returncode != 0
    (line,) = lines(refused.stderr, "picker: ")
    assert line.startswith("picker: E83 optimiser.batch: 2, expected a multiple of the 3 processes.")
