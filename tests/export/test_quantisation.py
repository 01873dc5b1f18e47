"""int8: which operations it takes, and that what is found stays where it was."""

import sys
from pathlib import Path

import numpy as np
import pytest
from export.tiny_detectors import tiny_detector

from picker_export.onnx_export import export_graph
from picker_export.quantisation import kept_in_float32, write_int8
from picker_runtime.engines.openvino import OpenVinoEngine, import_openvino
from picker_runtime.errors import EngineError
from picker_runtime.ir_safety import check_ir

EDGE = 32
INNER = {"Convolution", "PRelu", "Add", "Interpolate"}
"""What lies between a detector's first convolution and its last."""


def cubes(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal((1, 1, EDGE, EDGE, EDGE), dtype=np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network's float32 graph and its int8 one."""
    folder = tmp_path_factory.mktemp("graphs")
    export_graph(tiny_detector(), folder / "model.onnx")
    assert write_int8(folder / "model.onnx", cubes(6), folder / "model.int8.xml") == 6
    return {"fp32": folder / "model.onnx", "int8": folder / "model.int8.xml"}


def operations(path: Path) -> list:
    return list(import_openvino().Core().read_model(path).get_ordered_ops())


def is_quantised(operation) -> bool:  # type: ignore[no-untyped-def]
    return operation.input(0).get_source_output().get_node().get_type_name() == "FakeQuantize"


def test_all_convolutions_but_the_last_take_int8(graphs: dict[str, Path]) -> None:
    convolutions = [one for one in operations(graphs["int8"]) if one.get_type_name() == "Convolution"]
    assert [is_quantised(one) for one in convolutions] == [True] * (len(convolutions) - 1) + [False]


def test_nothing_of_the_decoding_takes_int8(graphs: dict[str, Path]) -> None:
    quantised = {one.get_type_name() for one in operations(graphs["int8"]) if one.inputs() and is_quantised(one)}
    assert quantised <= INNER
    kept = set(kept_in_float32(import_openvino().Core().read_model(graphs["fp32"])))
    types = {one.get_type_name() for one in operations(graphs["fp32"]) if one.get_friendly_name() in kept}
    assert {"Sigmoid", "TopK", "MaxPool", "Minimum", "Maximum"} & types >= {"Sigmoid", "TopK", "MaxPool"}


def test_the_graph_is_safe_small_and_says_nothing_of_this_machine(graphs: dict[str, Path]) -> None:
    check_ir(graphs["int8"])
    text = graphs["int8"].read_text()
    assert "ignored_scope" not in text
    assert str(graphs["fp32"].parent) not in text
    assert graphs["int8"].with_suffix(".bin").stat().st_size < graphs["fp32"].stat().st_size


def test_what_is_found_is_near_for_any_shape_and_batch(graphs: dict[str, Path]) -> None:
    rng = np.random.default_rng(4)
    inputs = {
        "cubes": rng.standard_normal((2, 1, 32, 40, 48), dtype=np.float32) * 3 + 7,
        "mean": np.full(2, 7, np.float32),
        "inverse_std": np.full(2, 1 / 3, np.float32),
    }
    with OpenVinoEngine(graphs["fp32"], threads=1) as one, OpenVinoEngine(graphs["int8"], threads=1) as other:
        full, low = one.infer(inputs), other.infer(inputs)
    strong = full["scores"] > 0.5
    assert strong.sum() > 10
    near = 0
    for row, slot in zip(*np.nonzero(strong), strict=True):
        distances = np.linalg.norm(low["centers"][row] - full["centers"][row, slot], axis=1)
        place = distances.argmin()
        near += bool(distances[place] < 1.0 and abs(low["scores"][row, place] - full["scores"][row, slot]) < 0.1)
    assert near / strong.sum() > 0.8
    assert np.any(low["scores"] != full["scores"])


def test_progress_of_the_library_stays_off_stdout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_graph(tiny_detector(), tmp_path / "model.onnx")
    capfd.readouterr()
    write_int8(tmp_path / "model.onnx", cubes(2), tmp_path / "model.int8.xml")
    assert capfd.readouterr().out == ""


def test_without_the_library_the_pip_line_is_told(
    graphs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(EngineError, match=r"E60 nncf.*pip install 'picker-cryoet\[export\]'"):
        write_int8(graphs["fp32"], cubes(1), tmp_path / "model.int8.xml")
