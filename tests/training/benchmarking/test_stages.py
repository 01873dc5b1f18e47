"""The job that times every stage: what a second call measures, and a case that takes too long."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark import stages, yardsticks
from benchmark.stage_case import Case

PICKS = [[10.0, 10.0, 10.0, 0.9, 0], [20.0, 20.0, 20.0, 0.8, 1]]


def result(picks: list[list[float]]) -> dict[str, Any]:
    return {
        "shape": [64, 96, 96], "cube": [64, 96, 96], "cubes": 1, "warm": {}, "apart": {}, "figures": {}, "picks": picks,
        "rates": {"cpu": {"GFLOP/s": 1.0}, "gpu": {}}, "radii": [5.0] * 12,
    }  # fmt: skip


def yardstick(*given: Any, **options: Any) -> dict[str, Any]:
    return {"yardstick": "PyTorch", "precision": "fp32", "cube": [64] * 3, "batch": 1, "seconds": 1.0}


def test_a_second_call_measures_what_is_new_and_what_failed_and_compares_it_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [result(PICKS), {"failed": "no such library"}, result(PICKS[:1])]
    done: list[str] = []

    def measure(case: Case, timeout: float) -> dict[str, Any]:
        done.append(case.engine)
        return answers[len(done) - 1]

    def call(*engines: str) -> dict[str, Any]:
        chosen = [argument for engine in engines for argument in ("--engine", engine)]
        options = ["--precision", "fp32", "--shape", "64,96,96", "--threads", "1"]
        monkeypatch.setattr(sys, "argv", ["stages.py", "-o", str(tmp_path), *options, *chosen])
        stages.main()
        report: dict[str, Any] = json.loads((tmp_path / "stages.json").read_text())
        return report

    measured: list[Any] = []
    monkeypatch.setattr(stages, "in_a_process_of_its_own", measure)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(yardsticks, "same_network", yardstick)
    monkeypatch.setattr(yardsticks, "published_network", lambda *a, **k: measured.append(a) or yardstick())
    report = call("openvino", "onnxruntime")
    assert [case.get("failed") for case in report["cases"]] == [None, "no such library"]
    report = call("openvino", "onnxruntime")
    assert done == ["openvino", "onnxruntime", "onnxruntime"]
    assert len(measured) == 1
    assert [case["figures"]["pick F1"] for case in report["cases"]] == [1.0, pytest.approx(2 / 3)]
    assert report["rates"] == {"cpu": {"GFLOP/s": 1.0}}
    assert call("openvino", "onnxruntime") == report
    assert len(done) == 3


def test_a_case_that_takes_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = tmp_path / "python"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(stuck))
    volume = tmp_path / "8x8x8.mrc"
    case = Case(
        model="shrec12", engine="openvino", precision="fp32", tile=None, volume=str(volume), batch=1, threads=1,
        repeats=1,
    )  # fmt: skip
    assert stages.in_a_process_of_its_own(case, 0.2) == {"failed": "took more than 0.2 s"}
    assert volume.stat().st_size > 4 * 8**3
