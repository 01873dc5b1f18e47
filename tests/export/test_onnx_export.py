from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export.tiny_detectors import SLOTS, tiny_detector
from torch import nn

from picker_export.onnx_export import OPSET, export_graph, fold_batch_norm
from picker_runtime.engines import open_engine
from picker_runtime.engines.cpu import INPUTS, OUTPUTS, Arrays
from picker_runtime.onnx_safety import check_graph
from picker_training.torch_engine import TorchEngine

SHAPES = [(1, 32, 32, 32), (2, 24, 40, 48)]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_graph(tiny_detector(), path)
    return path


@pytest.fixture(scope="module")
def model(graph: Path) -> onnx.ModelProto:
    return onnx.load(graph)


def inputs(shape: tuple[int, int, int, int]) -> Arrays:
    n, *edges = shape
    rng = np.random.default_rng(sum(shape))
    return {
        "cubes": rng.normal(100.0, 20.0, (n, 1, *edges)).astype(np.float32),
        "mean": np.linspace(95.0, 105.0, n).astype(np.float32),
        "inverse_std": np.linspace(0.05, -0.04, n).astype(np.float32),
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_agree_with_pytorch(graph: Path, engine: str, shape: tuple[int, int, int, int]) -> None:
    values = inputs(shape)
    with TorchEngine(tiny_detector()) as reference, open_engine(engine, graph, threads=1) as other:
        wanted, found = reference.infer(values), other.infer(values)  # type: ignore[attr-defined]
    assert np.all(wanted["scores"][:, :10] > 0.3)
    assert found["scores"] == pytest.approx(wanted["scores"], abs=1e-4)
    gaps = np.diff(wanted["scores"], axis=1, prepend=np.inf, append=-np.inf)
    clear = (wanted["scores"] > 0) & (-gaps[:, :-1] > 1e-4) & (-gaps[:, 1:] > 1e-4)  # ties may swap places
    assert np.count_nonzero(clear) > 20
    assert found["centers"][clear] == pytest.approx(wanted["centers"][clear], abs=1e-3)
    assert found["class_ids"][clear].tolist() == wanted["class_ids"][clear].tolist()
    assert found["diameters"][clear].tolist() == wanted["diameters"][clear].tolist()


def test_the_graph_reads_nothing_but_itself(graph: Path) -> None:
    check_graph(graph)


def test_the_graph_speaks_standard_onnx(model: onnx.ModelProto) -> None:
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {node.domain for node in model.graph.node} == {""}
    assert OPSET == 20
    assert not model.functions


def test_batch_and_edges_are_dynamic_and_the_slots_are_not(model: onnx.ModelProto) -> None:
    cubes, mean, inverse_std = model.graph.input
    assert [value.name for value in model.graph.input] == list(INPUTS)
    assert [value.name for value in model.graph.output] == list(OUTPUTS)
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (cubes, mean, inverse_std)]
    assert sizes[0][1] == 1
    assert all(isinstance(size, str) for size in [sizes[0][0], *sizes[0][2:]])
    assert sizes[1] == sizes[2] == [sizes[0][0]]
    for value in model.graph.output:
        assert value.type.tensor_type.shape.dim[1].dim_value == SLOTS
    types = [value.type.tensor_type.elem_type for value in model.graph.output]
    assert types == [onnx.TensorProto.FLOAT] * 3 + [onnx.TensorProto.INT32]


def test_the_number_of_slots_is_a_constant_of_the_graph(model: onnx.ModelProto) -> None:
    (top,) = (node for node in model.graph.node if node.op_type == "TopK")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    assert constants[top.input[1]].tolist() == [SLOTS]


def test_every_engine_can_build_its_operators(model: onnx.ModelProto) -> None:
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"BatchNormalization", "NonZero", "NonMaxSuppression", "Loop", "If", "Scan", "Softplus"}
    assert {"Conv", "MaxPool", "TopK", "Resize"} <= operators


def test_the_graph_tells_nothing_of_the_machine_that_wrote_it(graph: Path) -> None:
    content = graph.read_bytes()
    for word in (b".py", b"site-packages", b"torch", str(Path.cwd()).encode()):
        assert word not in content


@pytest.mark.long
def test_the_same_weights_give_the_same_bytes(graph: Path, tmp_path: Path) -> None:
    export_graph(tiny_detector(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == graph.read_bytes()


def test_folding_leaves_no_batch_norm_and_the_same_function() -> None:
    plain, folded = tiny_detector(), tiny_detector()
    fold_batch_norm(folded)
    assert any(isinstance(m, nn.BatchNorm3d) for m in plain.modules())
    assert not any(isinstance(m, nn.BatchNorm3d) for m in folded.modules())
    cubes = torch.randn(1, 1, 16, 24, 32)
    with torch.no_grad():
        one, other = plain.network(cubes), folded.network(cubes)
    assert other.objectness.numpy() == pytest.approx(one.objectness.numpy(), abs=1e-4)
    assert other.classes.numpy() == pytest.approx(one.classes.numpy(), abs=1e-4)
    assert other.offset.numpy() == pytest.approx(one.offset.numpy(), abs=1e-4)
