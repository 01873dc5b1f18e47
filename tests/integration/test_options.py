"""Each option of `detect` reaches what it is about."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.blob_graph import add_int8, golden_bundle, scattered, volume_with_blobs
from integration.command_line import SHAPE, picker, tomogram

import picker_runtime.detector as detector
from picker_runtime.engines.openvino import OpenVinoEngine
from picker_runtime.mrc import write_mrc

PLACES = [(16.0, 12.0, 15.0), (16.0, 36.0, 45.0)]


def detect(path: Path, model: Path, *options: object) -> dict[str, Any]:
    """Return the record of a detection in the file."""
    outcome = picker("detect", path, "-o", path.parent / "out", "--model", model, "--json", *options)
    assert outcome.status == 0
    record: dict[str, Any] = json.loads(outcome.stdout)
    return record


def count(record: dict[str, Any]) -> int:
    return sum(record["counts"].values())


def test_invert_finds_what_is_dark(tmp_path: Path, golden_model: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume_with_blobs(SHAPE, PLACES, dark=True), 10.0)
    assert count(detect(tmp_path / "a.mrc", golden_model)) == 0
    assert count(detect(tmp_path / "a.mrc", golden_model, "--invert")) == 2


def test_warnings_are_lines_on_stderr_unless_quiet(tmp_path: Path, golden_model: Path) -> None:
    places = scattered(SHAPE, count=8, apart=12, margin=3)
    write_mrc(tmp_path / "a.mrc", volume_with_blobs(SHAPE, places, dark=True), 10.0)
    arguments = ["detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model]
    [warning] = picker(*arguments).stderr.splitlines()
    assert warning.startswith("picker: warning: a.mrc: ")
    assert "--invert" in warning
    assert picker(*arguments, "--quiet").stderr == ""


def test_mask_leaves_out_the_rest(tmp_path: Path, golden_model: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume_with_blobs(SHAPE, PLACES), 10.0)
    mask = np.zeros(SHAPE, np.int8)
    mask[:, :24] = 1
    write_mrc(tmp_path / "mask.mrc", mask, 10.0)
    assert count(detect(tmp_path / "a.mrc", golden_model)) == 2
    assert count(detect(tmp_path / "a.mrc", golden_model, "--mask", tmp_path / "mask.mrc")) == 1


def test_a_mask_of_another_shape_is_refused(tmp_path: Path, golden_model: Path) -> None:
    tomogram(tmp_path / "a.mrc")
    write_mrc(tmp_path / "mask.mrc", np.ones((20, 20, 20), np.int8), 10.0)
    arguments = ["-o", tmp_path / "out", "--model", golden_model, "--mask", tmp_path / "mask.mrc"]
    outcome = picker("detect", tmp_path / "a.mrc", *arguments)
    assert outcome.status == 3
    assert outcome.stderr.startswith("picker: E45 mask.mrc: ")


def test_mode0_says_how_to_read_bytes(tmp_path: Path, golden_model: Path) -> None:
    volume = volume_with_blobs(SHAPE, PLACES)
    write_mrc(tmp_path / "a.mrc", np.clip(volume * 20 + 128, 0, 255).astype(np.uint8).view(np.int8), 10.0)
    assert count(detect(tmp_path / "a.mrc", golden_model, "--mode0", "unsigned")) == 2
    assert count(detect(tmp_path / "a.mrc", golden_model, "--mode0", "signed")) != 2


def test_classes_are_the_only_ones_to_be_picked(tmp_path: Path, golden_model: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume_with_blobs(SHAPE, PLACES, [5.0, 2.0]), 10.0)
    assert detect(tmp_path / "a.mrc", golden_model)["counts"] == {"small": 1, "large": 1}
    assert detect(tmp_path / "a.mrc", golden_model, "--classes", "small")["counts"] == {"small": 1}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_engine_asked_for_is_the_one_that_runs(engine: str, tmp_path: Path, golden_model: Path) -> None:
    found = tomogram(tmp_path / "a.mrc")
    record = detect(tmp_path / "a.mrc", golden_model, "--engine", engine)
    assert record["engine"].startswith(engine)
    assert count(record) == len(found)


@pytest.mark.parametrize("given", ["option", "variable"])
def test_the_precision_asked_for_is_the_one_that_runs(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = golden_bundle(tmp_path / "model")
    add_int8(model)
    found = tomogram(tmp_path / "a.mrc")
    assert detect(tmp_path / "a.mrc", model)["options"]["precision"] == "fp32"
    opened: list[Path] = []
    opener = OpenVinoEngine._open

    def spy(engine: OpenVinoEngine) -> tuple[list[str], list[str]]:
        opened.append(engine.graph)
        return opener(engine)

    monkeypatch.setattr(OpenVinoEngine, "_open", spy)
    if given == "variable":
        monkeypatch.setenv("PICKER_PRECISION", "int8")
    record = detect(tmp_path / "a.mrc", model, *(["--precision", "int8"] if given == "option" else []))
    assert record["options"]["precision"] == "int8"
    assert count(record) == len(found)
    assert opened == [model / "model.int8.xml"]
    assert "fp32" not in picker("info", tmp_path / "out/a.json").stdout
    assert "int8" in picker("info", tmp_path / "out/a.json").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "int8"], "the model has fp32. Fix: give fp32, or export it again with --precision int8"),
        (["--precision", "fp64"], "no such precision"),
        (["--precision", "fp16", "--engine", "openvino"], "the engine openvino runs fp32 and int8"),
        (["--precision", "int8", "--engine", "onnxruntime"], "give fp32, or --engine openvino"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(
    options: list[str], words: str, tmp_path: Path, golden_model: Path
) -> None:
    tomogram(tmp_path / "a.mrc")
    outcome = picker("detect", tmp_path / "a.mrc", "-o", tmp_path / "out", "--model", golden_model, *options)
    assert outcome.status == 2
    assert outcome.stderr.startswith(f"picker: E80 --precision {options[1]}: ")
    assert words in outcome.stderr


def test_tile_batch_and_threads_reach_the_engine_and_its_words_the_screen(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}
    open_engine = detector.open_engine

    def spy(*arguments: Any, **options: Any) -> Any:
        given.update(options)
        return open_engine(*arguments, **options)

    monkeypatch.setattr(detector, "open_engine", spy)
    tomogram(tmp_path / "a.mrc")
    record = detect(tmp_path / "a.mrc", golden_model, "--tile", "48,32,40", "--batch", 2, "--threads", 1)
    assert record["options"]["tile"] == [44, 32, 36]  # balanced below the bounds
    given.pop("say")("building an engine")
    assert given == {"batch": 2, "threads": 1}
    assert capsys.readouterr().err == "picker: note: building an engine\n"
