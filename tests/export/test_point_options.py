"""Whatever `point` is asked to be, its graph says what the network says."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export.tiny_detectors import DIAMETERS_VOXELS, SLOTS, lively

from picker_export.onnx_export import export_graph
from picker_runtime.engines import open_engine
from picker_runtime.engines.cpu import OUTPUTS
from picker_runtime.onnx_safety import check_graph
from picker_training.detectors.decode import DecodedDetector
from picker_training.detectors.options import PointOptions
from picker_training.detectors.point import PointDetector
from picker_training.torch_engine import TorchEngine

CHOICES = [
    {"class_window": 3, "deep_supervision": 0.5, "sphere_weight": 0.5},
    pytest.param({"objectness": "classes"}, marks=pytest.mark.long),
    pytest.param({"objectness": "classes", "class_window": 3}, marks=pytest.mark.long),
]


def detector(options: PointOptions) -> DecodedDetector:
    torch.manual_seed(0)
    network = lively(PointDetector(3, options))
    with torch.no_grad():
        network.head.bias[:-3] = 0.0  # type: ignore[index]
    return DecodedDetector(network, DIAMETERS_VOXELS, SLOTS).eval()


@pytest.mark.parametrize("choice", CHOICES)
def test_the_graph_agrees_with_the_network_and_keeps_the_contract(choice: dict[str, object], tmp_path: Path) -> None:
    options = PointOptions(widths=(8, 8, 8), blocks=(0, 1, 0), **choice)  # type: ignore[arg-type]
    path = tmp_path / "model.onnx"
    export_graph(detector(options), path)
    check_graph(path)
    graph = onnx.load(path).graph
    assert [value.name for value in graph.output] == list(OUTPUTS)
    assert not any("deep_head" in w.name or "sphere" in w.name for w in graph.initializer)
    inputs = {
        "cubes": np.random.default_rng(0).normal(100.0, 20.0, (2, 1, 24, 40, 32)).astype(np.float32),
        "mean": np.array([98.0, 102.0], np.float32),
        "inverse_std": np.array([0.05, -0.05], np.float32),
    }
    with TorchEngine(detector(options)) as reference, open_engine("openvino", path, threads=1) as other:
        wanted, found = reference.infer(inputs), other.infer(inputs)  # type: ignore[attr-defined]
    assert np.all(wanted["scores"][:, :10] > 0.25)
    assert len(np.unique(wanted["class_ids"][wanted["scores"] > 0])) >= 2
    assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-4)
    gaps = np.diff(wanted["scores"], axis=1, prepend=np.inf, append=-np.inf)
    clear = (wanted["scores"] > 0) & (-gaps[:, :-1] > 1e-4) & (-gaps[:, 1:] > 1e-4)  # ties may swap places
    assert np.count_nonzero(clear) > 20
    assert found["centers"][clear] == pytest.approx(wanted["centers"][clear], abs=1e-3)
    assert found["class_ids"][clear].tolist() == wanted["class_ids"][clear].tolist()
