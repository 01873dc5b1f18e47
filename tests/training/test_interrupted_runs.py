"""Runs that are killed, stopped, starved of disk or started twice: one clear line, and a checkpoint to go on from."""

import csv
import errno
import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from integration.command_line import heed_interrupts
from torch import Tensor
from training import tiny_fit
from training.phantoms import CLASSES, write_phantoms

from picker_runtime import console
from picker_training import cli
from picker_training.checkpoint import load_best, load_checkpoint
from picker_training.config import dump_config
from picker_training.run_lock import locked

CPU = torch.device("cpu")
STEPS, BATCH = tiny_fit.CONFIG.optimiser.steps, tiny_fit.CONFIG.optimiser.batch
Fit = Callable[..., int]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("templates"), (*CLASSES, "3qm1"))


@pytest.fixture
def options(templates: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "tiny.toml").write_text(dump_config(tiny_fit.CONFIG))
    given = ["--config", str(tmp_path / "tiny.toml"), "--templates", str(templates)]
    return [*given, "--device", "cpu", "--threads", "1"]


@pytest.fixture
def fit(options: list[str], monkeypatch: pytest.MonkeyPatch) -> Fit:
    """The command `picker-training fit` on a tiny configuration, in this process."""
    tiny_fit.shrink(monkeypatch.setattr)
    return lambda run, *more: cli.run(["fit", "-o", str(run), *options, *more])


def fit_process(run: Path, options: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, tiny_fit.__file__, "-o", str(run), *options]
    given = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        command, capture_output=True, text=True, timeout=600, env=given, preexec_fn=heed_interrupts
    )  # fmt: skip


def saved_step(run: Path) -> int:
    checkpoint = load_checkpoint(run)
    return checkpoint.step if checkpoint else 0


def state(run: Path) -> dict[str, Tensor]:
    checkpoint, best = load_checkpoint(run), load_best(run)
    assert checkpoint and best
    parts = {"weights": checkpoint.weights, "average": checkpoint.average, "best": best.average}
    return {f"{part} {name}": value for part, values in parts.items() for name, value in values.items()}


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a log but for what the clock says."""
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def complaints(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith(("step ", "note: "))]


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Stand in for a full disk: no file can grow beyond the limit, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_killed_run_goes_on_to_the_same_end(
    fit: Fit, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = fit_process(
        tmp_path / "killed", options, PICKER_SAMPLES=str(tmp_path / "before"), PICKER_SIGNAL=f"SIGKILL {BATCH * 7 + 1}"
    )
    assert killed.returncode == -9
    assert saved_step(tmp_path / "killed") == 4
    assert rows(tmp_path / "killed/log.csv")[-1]["step"] == "7"

    made = tmp_path / "made"
    tiny_fit.record_samples(made, monkeypatch.setattr, lambda count: None)
    assert fit(tmp_path / "killed") == 0
    after = made.read_text().split()
    made.write_text("")
    assert fit(tmp_path / "whole") == 0
    whole = made.read_text().split()

    assert len(set(whole)) == BATCH * STEPS
    assert (tmp_path / "before").read_text().split() == whole[: BATCH * 7 + 1]
    assert after == whole[BATCH * 4 :]
    assert [row["step"] for row in rows(tmp_path / "whole/log.csv")] == [str(step + 1) for step in range(STEPS)]
    for log in ("log.csv", "validation.csv"):
        assert rows(tmp_path / "killed" / log) == rows(tmp_path / "whole" / log)
    mine, theirs = state(tmp_path / "killed"), state(tmp_path / "whole")
    assert mine.keys() == theirs.keys()
    assert [name for name, value in mine.items() if not torch.equal(value, theirs[name])] == []


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), pytest.param("SIGINT", 130, marks=pytest.mark.long)])
def test_a_signal_leaves_a_checkpoint_of_the_step_under_way(
    name: str, status: int, options: list[str], tmp_path: Path
) -> None:
    stopped = fit_process(
        tmp_path / "run", options, PICKER_SAMPLES=str(tmp_path / "samples"), PICKER_SIGNAL=f"{name} {BATCH * 5 + 1}"
    )
    assert stopped.returncode == status
    assert complaints(stopped.stderr) == [f"picker: stopped by {name}. Finished files stay, none is half-written."]
    assert saved_step(tmp_path / "run") == 6
    assert not list((tmp_path / "run").glob(".picker-*"))


def test_a_signal_during_validation_stops_at_once_and_the_validation_is_made_up_for(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from picker_training import run as training_run

    def stopped(*_arguments: object) -> None:
        raise console.Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "validation_score", stopped)
        assert fit(tmp_path / "run", "--steps", "10") == 143
    assert saved_step(tmp_path / "run") == 10
    assert not (tmp_path / "run/validation.csv").exists()
    assert fit(tmp_path / "run", "--steps", "10") == 0
    assert [row["step"] for row in rows(tmp_path / "run/validation.csv")] == ["10"]
    assert fit(tmp_path / "run", "--steps", "10") == 0
    assert [row["step"] for row in rows(tmp_path / "run/validation.csv")] == ["10"]


@pytest.mark.parametrize("share", [0.9, 0.01])
def test_a_full_disk_ends_the_run_and_the_checkpoint_before_goes_on(
    share: float, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With nine tenths of a checkpoint's size the checkpoint does not fit, with a hundredth the log does not."""
    run = tmp_path / "run"
    assert fit(run, "--steps", "4") == 0
    assert len(list((run / "scenes").iterdir())) == 2 * tiny_fit.CONFIG.data.scenes  # no scene has to be written later
    before = (run / "checkpoint.pt").read_bytes()
    capsys.readouterr()
    with file_size_limit(int(share * len(before))):
        assert fit(run, "--steps", "8") == 6
    (line,) = complaints(capsys.readouterr().err)
    assert line.startswith("picker: E71 ")
    assert "file too large" in line
    assert (run / "checkpoint.pt").read_bytes() == before
    assert not list(run.glob(".picker-*"))
    assert fit(run, "--steps", "8") == 0
    assert [row["step"] for row in rows(run / "log.csv")] == [str(step + 1) for step in range(8)]


def test_where_there_are_no_locks_a_run_is_not_held(fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(stream: object, operation: int) -> None:
        raise OSError(errno.ENOSYS, "function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert fit(tmp_path / "run", "--steps", "1") == 0


def test_a_folder_takes_one_run_at_a_time(fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    with locked(run):
        assert fit(run) == 6
    assert complaints(capsys.readouterr().err) == [
        f"picker: E70 {run}: another process is training in it. "
        "Fix: wait for it to end, or choose another folder with -o."
    ]
    assert [path.name for path in run.iterdir()] == ["lock"]
    assert fit(run, "--steps", "1") == 0
