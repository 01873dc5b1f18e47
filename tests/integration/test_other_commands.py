"""`info`, `sample`, `doctor`, `--version` and `--print-config` through the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from integration.command_line import contents, picker, tomogram

import picker_runtime.sample


def test_info_of_a_tomogram(tmp_path: Path) -> None:
    tomogram(tmp_path / "a.mrc")
    outcome = picker("info", tmp_path / "a.mrc")
    assert outcome.status == 0
    rows = dict(line.strip().split("  ", 1) for line in outcome.stdout.splitlines()[1:])
    assert rows["shape"].strip() == "33 x 48 x 61 voxels (z, y, x)"
    assert rows["voxel size"].strip() == "10 A"
    assert rows["stored as"].strip() == "MRC mode 2 (<f4)"


def test_info_of_a_detection_and_of_a_model(tmp_path: Path, golden_model: Path) -> None:
    found = tomogram(tmp_path / "a.mrc")
    picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model)
    outcome = picker("info", tmp_path / "out/a.json", golden_model)
    assert outcome.status == 0
    assert f"{len(found)} picks" in outcome.stdout
    assert "small         50 A, threshold 0.2" in outcome.stdout


def test_info_refuses_as_detect_does_and_goes_on(tmp_path: Path) -> None:
    tomogram(tmp_path / "none.mrc", voxel_size=0.0)
    tomogram(tmp_path / "a.mrc")
    outcome = picker("info", tmp_path / "none.mrc", tmp_path / "a.mrc")
    assert outcome.status == 3
    assert outcome.stderr.startswith("picker: E31 none.mrc: ")
    assert "33 x 48 x 61" in outcome.stdout
    assert picker("info", tmp_path / "none.mrc", "--voxel-size", 12).status == 0


def test_sample_copies_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "samples/truth").mkdir(parents=True)
    (tmp_path / "samples/one.mrc").write_bytes(b"volume")
    (tmp_path / "samples/truth/particle_locations.txt").write_bytes(b"list")
    monkeypatch.setattr(picker_runtime.sample, "SAMPLES", tmp_path / "samples")
    outcome = picker("sample", "-o", tmp_path / "out")
    assert outcome.status == 0
    assert outcome.stdout.split() == [
        str(tmp_path / "out/one.mrc"),
        str(tmp_path / "out/truth/particle_locations.txt"),
    ]
    assert contents(tmp_path / "out/truth") == {"particle_locations.txt": b"list"}
    monkeypatch.setattr(picker_runtime.sample, "SAMPLES", tmp_path / "nothing")
    assert picker("sample", "-o", tmp_path / "out").status == 3


def test_doctor_ends_with_the_first_failure_s_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKER_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("picker_runtime.bundle.MODELS", tmp_path / "none")
    outcome = picker("doctor")
    assert outcome.status == 4
    assert "FAIL  E50 " in outcome.stdout


def test_the_package_runs_as_the_command_does() -> None:
    command = [sys.executable, "-m", "picker_runtime", "detect", "--no-such-option"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("picker: E80 picker-runtime detect: ")


def test_version() -> None:
    outcome = picker("--version")
    assert outcome.status == 0
    assert outcome.stdout.startswith("picker-cryoet ")


def test_without_a_command_there_is_help() -> None:
    assert "Usage" in picker().stdout


def test_print_config_shows_options_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKER_ENGINE", "onnxruntime")
    monkeypatch.setenv("PICKER_TILE", "96")
    options = ["--tile", "64,96,96", "--threshold", "0.5", "--threshold", "1bxn=0.4", "--print-config"]
    outcome = picker("detect", "a.mrc", *options)
    assert outcome.status == 0
    config = json.loads(outcome.stdout)
    assert config["inputs"] == ["a.mrc"]
    assert config["engine"] == "onnxruntime"
    assert config["tile"] == [64, 96, 96]
    assert config["thresholds"] == {"everywhere": 0.5, "by_class": {"1bxn": 0.4}}
