from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from picker_export.half import to_half
from picker_export.parity import compare, scene_from_file
from picker_runtime.bundle import Bundle
from picker_runtime.engines import open_engine
from picker_runtime.onnx_safety import check_graph

OUTPUTS = ["centers", "diameters", "scores", "class_ids"]
SHAPE = (1, 1, 32, 40, 48)


@pytest.fixture(scope="module")
def full(tiny_graph: onnx.ModelProto) -> onnx.ModelProto:
    return tiny_graph


@pytest.fixture(scope="module")
def half(full: onnx.ModelProto) -> onnx.ModelProto:
    return to_half(full)


def types(model: onnx.ModelProto) -> dict[str, str]:
    """Return the element type of every value, by name."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    return {value.name: TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in values}


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = {
        "cubes": rng.normal(100.0, 20.0, SHAPE).astype(np.float32),
        "mean": np.full(1, 100.0, np.float32),
        "inverse_std": np.full(1, 0.05, np.float32),
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(OUTPUTS, inputs))


def test_convolutions_are_float16_but_the_last(half: onnx.ModelProto) -> None:
    found = types(half)
    convolutions = [found[node.output[0]] for node in half.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 5
    assert convolutions == ["FLOAT16"] * (len(convolutions) - 1) + ["FLOAT"]


def test_normalisation_and_decoding_stay_float32(half: onnx.ModelProto) -> None:
    found = types(half)
    operators = {"Clip", "Sub", "Sigmoid", "Softmax", "MaxPool", "TopK", "GatherElements"}
    seen = {node.op_type: found[node.output[0]] for node in half.graph.node if node.op_type in operators}
    assert seen.keys() == operators
    assert set(seen.values()) <= {"FLOAT", "INT64"}


def test_between_the_convolutions_nothing_is_cast(half: onnx.ModelProto) -> None:
    casts = [node.op_type for node in half.graph.node if node.op_type == "Cast" and node.name.startswith("cast_")]
    assert len(casts) == 2


def test_inputs_outputs_and_operators_stay_as_they_were(full: onnx.ModelProto, half: onnx.ModelProto) -> None:
    assert half.graph.input == full.graph.input
    assert half.graph.output == full.graph.output
    assert half.opset_import == full.opset_import
    kept = [(node.op_type, node.name) for node in half.graph.node if not node.name.startswith("cast_")]
    assert kept == [(node.op_type, node.name) for node in full.graph.node]


def test_the_graph_is_half_as_large_and_harmless(full: onnx.ModelProto, half: onnx.ModelProto, tmp_path: Path) -> None:
    weights = [sum(t.ByteSize() for t in model.graph.initializer if len(t.dims) == 5) for model in (full, half)]
    assert weights[1] < 0.6 * weights[0]
    onnx.save(half, tmp_path / "model.fp16.onnx")
    check_graph(tmp_path / "model.fp16.onnx")


def test_the_results_are_near(full: onnx.ModelProto, half: onnx.ModelProto) -> None:
    (centers, _, scores, class_ids), (centers16, _, scores16, class_ids16) = run(full), run(half)
    assert np.count_nonzero(scores > 0.3) > 10
    assert scores16 == pytest.approx(scores, abs=5e-3)
    assert np.any(scores16 != scores)
    for place, class_id in zip(centers[0][:10], class_ids[0][:10], strict=True):
        distance = np.abs(centers16[0] - place).max(axis=1)
        assert distance.min() < 0.05
        assert class_ids16[0][distance.argmin()] == class_id


@pytest.mark.long
def test_the_picks_of_the_bundled_model_are_the_same(tmp_path: Path) -> None:
    bundle = Bundle.open("shrec12")
    onnx.save(to_half(onnx.load(bundle.graph)), tmp_path / "model.fp16.onnx")
    with (
        open_engine("openvino", bundle.graph) as one,
        open_engine("onnxruntime", tmp_path / "model.fp16.onnx") as other,
    ):
        report = compare(one, other, bundle.card, [scene_from_file(None)])
    assert report.candidates > 50
    assert report.pick_agreement >= 0.99
    assert report.max_score_difference < 0.02


def chain(*, scale: float = 1.0, operators: tuple[str, ...] = ("Conv", "Conv")) -> onnx.ModelProto:
    """Return a graph of convolutions that share one weight, which the first output reads too."""
    weight = numpy_helper.from_array(np.full((1, 1, 1, 1, 1), scale, np.float32), "weight")
    shape = ["n", 1, "d", "h", "w"]
    names = ["x", *(f"y{i}" for i in range(len(operators)))]
    nodes = [
        helper.make_node(operator, [names[i], "weight"], [names[i + 1]], name=f"{operator}_{i}")
        for i, operator in enumerate(operators)
    ]
    nodes.append(helper.make_node("Mul", ["x", "weight"], ["scaled"], name="scaling"))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (names[-1], "scaled")],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_weight_that_both_kinds_read_is_kept_in_both() -> None:
    half = to_half(chain(scale=0.5))
    found = types(half)
    assert (found["y0"], found["y1"], found["scaled"]) == ("FLOAT16", "FLOAT", "FLOAT")
    weights = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert weights == {"weight": TensorProto.FLOAT, "weight.half": TensorProto.FLOAT16}


def test_what_float16_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="weight holds values that float16 cannot"):
        to_half(chain(scale=1e5))


def test_a_graph_without_consecutive_convolutions_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to convert"):
        to_half(chain(operators=("Conv",)))
