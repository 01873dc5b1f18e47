"""What a job leaves where only small files can be kept, and takes from there."""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest

JOBS = Path(__file__).resolve().parents[2] / "training/jobs"


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("train_default_model", JOBS / "train_default_model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PIECE", 10)
    return module


def write(run: Path, size: int, letter: bytes) -> None:
    run.mkdir(exist_ok=True)
    (run / "checkpoint.pt").write_bytes(letter * size)
    (run / "log.csv").write_text("step\n")


def test_pieces_come_together_as_the_last_weights_that_were_left(job: ModuleType, tmp_path: Path) -> None:
    run, parts, other = tmp_path / "run", tmp_path / "parts", tmp_path / "other"
    parts.mkdir()
    for size, letter in ((35, b"a"), (12, b"b")):  # four pieces, then two
        write(run, size, letter)
        job.leave_parts(parts, run)
    assert sorted(path.name for path in parts.iterdir()) == ["checkpoint.pt.part00", "checkpoint.pt.part01", "log.csv"]
    other.mkdir()
    job.take_parts(parts, other)
    assert (other / "checkpoint.pt").read_bytes() == b"b" * 12
    assert (other / "log.csv").read_text() == "step\n"


def test_a_run_that_has_its_own_weights_keeps_them(job: ModuleType, tmp_path: Path) -> None:
    write(tmp_path / "run", 5, b"a")
    (tmp_path / "checkpoint.pt.part00").write_bytes(b"other")
    job.take_parts(tmp_path, tmp_path / "run")
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == b"aaaaa"


def test_a_job_that_is_told_to_end_leaves_its_parts(
    job: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(options: object, validated: object) -> bool:
        write(tmp_path / "run", 5, b"a")
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(job, "train", train)
    options = ["--templates", str(tmp_path), "--run", str(tmp_path / "run"), "--parts", str(tmp_path / "parts")]
    monkeypatch.setattr("sys.argv", ["job", *options])
    try:
        with pytest.raises(SystemExit) as caught:
            job.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert (tmp_path / "parts/checkpoint.pt.part00").read_bytes() == b"aaaaa"
