"""Which engine a detection takes, through the command line: recorded always, told where there may be a GPU."""

import json
from pathlib import Path

import pytest
from integration.command_line import picker, tomogram

from picker_runtime.engines import choice
from picker_runtime.engines.driver import Driver

ABSENT = Driver(problem="no NVIDIA driver here", fix="install NVIDIA's driver", seen=False)
BROKEN = Driver(problem="the driver does not answer within 30 s", fix="restart the machine")


def detect(folder: Path, model: Path, driver: Driver, monkeypatch: pytest.MonkeyPatch, *options: str) -> list[str]:
    """Detect in a small tomogram on a machine with this driver; return the lines on stderr that are no warnings."""
    monkeypatch.setattr(choice, "probe_driver", lambda: driver)
    tomogram(folder / "a.mrc")
    return picker("detect", folder / "a.mrc", "-o", folder / "out", "--model", model, *options).complaints


def reason(folder: Path) -> str:
    return str(json.loads((folder / "out/a.json").read_text())["options"]["engine_reason"])


def test_without_a_driver_the_reason_is_in_the_record_alone(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect(tmp_path, golden_model, ABSENT, monkeypatch) == []
    assert reason(tmp_path) == "no NVIDIA driver here"


def test_where_a_gpu_may_be_the_choice_is_told_once_unless_quiet(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = detect(tmp_path, golden_model, BROKEN, monkeypatch)
    assert told == ["picker: note: engine openvino: the driver does not answer within 30 s"]
    assert reason(tmp_path) == "the driver does not answer within 30 s"
    assert detect(tmp_path, golden_model, BROKEN, monkeypatch, "--quiet") == []


def test_an_engine_that_was_asked_for_needs_no_reason(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect(tmp_path, golden_model, BROKEN, monkeypatch, "--engine", "onnxruntime") == []
    assert reason(tmp_path) == "asked for"


def test_a_gpu_engine_without_a_gpu_is_an_error_and_nothing_is_written(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [error] = detect(tmp_path, golden_model, ABSENT, monkeypatch, "--engine", "cuda")
    assert error.startswith("picker: E60 cuda: no NVIDIA driver here. Fix: install NVIDIA's driver; or --engine auto")
    assert list((tmp_path / "out").iterdir()) == []
