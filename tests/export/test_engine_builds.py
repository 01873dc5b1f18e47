"""TensorRT-RTX engines of the exported graphs, really built; it needs no GPU for that, and none runs here."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from picker_export.half import to_half
from picker_runtime.bundle import Bundle
from picker_runtime.engines.cache import PlanRefusedError
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.tensorrt import RTX, TENSORRT, BuildOptions, build_plan
from picker_runtime.engines.tensorrt_network import TensorRtNetwork
from picker_runtime.errors import EngineError, ModelError

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra rtx) cannot be installed here")

TINY = BuildOptions(shapes=((2, 1, 32, 32, 32),))
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def tiny(tiny_graph: onnx.ModelProto) -> onnx.ModelProto:
    return tiny_graph


@pytest.fixture(scope="module")
def bundled() -> onnx.ModelProto:
    return onnx.load(Bundle.open("shrec12").graph)


def build(model: onnx.ModelProto, options: BuildOptions = TINY) -> bytes:
    return build_plan(RTX, model.SerializeToString(), options, name="model.onnx")


def edited(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_exported_graph_builds(tiny: onnx.ModelProto, precision: str) -> None:
    plan = build(tiny if precision == "fp32" else to_half(tiny))
    assert len(plan) > 0.1 * MEGABYTE


def test_the_bundled_model_builds_for_its_tile_in_both_precisions(bundled: onnx.ModelProto) -> None:
    tile = Bundle.open("shrec12").card.tile
    options = BuildOptions(shapes=((1, 1, *tile),))
    full, half = build(bundled, options), build(to_half(bundled), options)
    assert len(full) > sum(tensor.ByteSize() for tensor in bundled.graph.initializer)
    assert len(half) < 0.7 * len(full)


def test_one_engine_serves_several_tiles(tiny: onnx.ModelProto) -> None:
    shapes = ((1, 1, 32, 32, 32), (1, 1, 32, 32, 24), (4, 1, 16, 32, 32))
    assert len(build(tiny, BuildOptions(shapes=shapes))) > len(build(tiny, BuildOptions(shapes=shapes[:1])))


@pytest.mark.parametrize("target", ["SM86", "SM89", "SM120"])
def test_it_builds_for_one_kind_of_gpu(tiny: onnx.ModelProto, target: str) -> None:
    assert len(build(to_half(tiny), BuildOptions(shapes=TINY.shapes, targets=(target,)))) > 0


def test_a_gpu_without_float32_convolutions_is_named_with_the_node(tiny: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match=r"E62 .*'node_conv3d.*' for Turing \(SM75\): FP32 3D convolution"):
        build(tiny, BuildOptions(shapes=TINY.shapes, targets=("SM75",)))


def test_steps_are_reported_in_order(tiny: onnx.ModelProto) -> None:
    steps: list[tuple[int, int]] = []
    build_plan(RTX, tiny.SerializeToString(), TINY, name="x", progress=lambda done, total: steps.append((done, total)))
    done = [step for step, _ in steps]
    assert done == sorted(done)
    [total] = {total for _, total in steps}
    assert set(done) >= set(range(total))  # it may leave out the last
    assert total > 2
    assert len(steps) > 2 * total  # signs of life in between


def test_what_the_progress_raises_ends_the_build_and_arrives(tiny: onnx.ModelProto) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plan(RTX, tiny.SerializeToString(), TINY, name="x", progress=stop)
    build(tiny)  # and the next one is none the worse for it


def test_an_unsupported_operator_is_named_with_its_node(tiny: onnx.ModelProto) -> None:
    model = edited(tiny)
    model.graph.node.append(helper.make_node("NonZero", ["scores"], ["places"], name="the_places"))
    model.graph.output.append(helper.make_tensor_value_info("places", TensorProto.INT64, [2, "k"]))
    with pytest.raises(EngineError, match=r"E62 model.onnx with tensorrt-rtx: cannot use node the_places \(NonZero\)"):
        build(model)


def test_types_that_do_not_match_are_named_with_their_node(tiny: onnx.ModelProto) -> None:
    model = edited(tiny)
    model.graph.node.append(helper.make_node("Add", ["scores", "class_ids"], ["sum"], name="the_sum"))
    model.graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [2, "k"]))
    with pytest.raises(EngineError, match=r"E62 .*the_sum.* must have same input types") as caught:
        build(model)
    assert "checkMacros" not in str(caught.value)
    assert "/_src" not in str(caught.value)


def test_more_candidates_than_the_library_sorts_are_named_with_their_node(tiny: onnx.ModelProto) -> None:
    model = edited(tiny)
    [top] = [node for node in model.graph.node if node.op_type == "TopK"]
    model.graph.initializer.append(numpy_helper.from_array(np.array([3841]), "many"))
    top.input[1] = "many"
    with pytest.raises(EngineError, match=rf"E62 .*{top.name}.*K exceeds the maximum value allowed \(3840\)") as caught:
        build(model)
    assert "IBuilder::" not in str(caught.value)
    assert "/_src" not in str(caught.value)


def test_a_tile_that_does_not_suit_the_network_is_named(tiny: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match=r"E62 .*no engine for 1x1x36x36x36: .*must be conformable"):
        build(tiny, BuildOptions(shapes=((1, 1, 36, 36, 36),)))


def test_a_gpu_that_the_library_does_not_know_is_refused(tiny: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match=r"E62 tensorrt-rtx: builds for no SM90"):
        build(tiny, BuildOptions(shapes=TINY.shapes, targets=("SM90",)))


def test_noise_and_foreign_graphs_are_refused(tiny: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match=r"E62 noise.onnx with tensorrt-rtx: cannot use the graph"):
        build_plan(RTX, b"\x08\x07noise", TINY, name="noise.onnx")
    model = edited(tiny)
    model.graph.output.pop()
    with pytest.raises(ModelError, match=r"E53 model\.onnx: takes"):
        build(model)


@pytest.mark.skipif(not probe_driver().problem, reason="there is a GPU here")
def test_without_a_driver_the_full_library_says_that_it_builds_on_the_gpu_only(tiny: onnx.ModelProto) -> None:
    with pytest.raises(EngineError, match=r"E60 tensorrt: builds only on the GPU it is for: no NVIDIA driver"):
        build_plan(TENSORRT, tiny.SerializeToString(), TINY, name="model.onnx")


@pytest.mark.skipif(not probe_driver().problem, reason="there is a GPU here")
def test_without_a_driver_a_plan_is_refused_and_nothing_crashes(tiny: onnx.ModelProto) -> None:
    with pytest.raises(PlanRefusedError, match="driver"):
        TensorRtNetwork(RTX, build(tiny), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("shapes", [(), ((1, 32, 32, 32),), ((1, 2, 32, 32, 32),), ((0, 1, 32, 32, 32),)])
def test_shapes_that_are_no_cubes_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="expected one or more"):
        BuildOptions(shapes=shapes)
