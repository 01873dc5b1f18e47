"""Recorded calls of the TensorRT runtime: order, names and shapes; what a GPU does is not tested here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime.engines.recorded import FACTS, RecordedDevice, Recorder, buffers_for, names, plain

from picker_runtime.engines import networks, tensorrt_network
from picker_runtime.engines.cache import PlanRefusedError
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.device import DeviceMemoryError
from picker_runtime.engines.networks import open_network
from picker_runtime.engines.tensorrt import RTX, TENSORRT, Library
from picker_runtime.engines.tensorrt_network import TensorRtNetwork
from picker_runtime.errors import EngineError

SLOTS = 64
CUBES, HALVES = (2, 1, 32, 32, 32), (2, 1, 32, 32, 24)
SHAPES = {"centers": (-1, SLOTS, 3), "diameters": (-1, SLOTS), "scores": (-1, SLOTS), "class_ids": (-1, SLOTS)}


class FakeTrt:
    """Stands for the imported package; `kernels` tells whether it can keep compiled kernels, as TensorRT-RTX can."""

    __version__ = "11.4.0"

    def __init__(self, *, kernels: bool = False, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        accepted = dict.fromkeys(
            ("execute_async_v3", "set_tensor_address", "set_input_shape", "set_optimization_profile_async"), True
        )
        self.context = Recorder(self.calls, **(accepted | answers))
        if not kernels:
            self.context.is_stream_capturable = None
        self.engine = Recorder(
            self.calls,
            create_execution_context=self.context,
            get_tensor_dtype=lambda name: np.int32 if name == "class_ids" else np.float32,
            get_tensor_shape=lambda name: SHAPES[name],
            get_tensor_profile_shape=lambda name, i: ((), (), (CUBES, HALVES)[i]),
            get_device_memory_size_for_profile_v2=lambda i: (1 << 20) * (i + 1),
            **({"create_runtime_config": self._config()} if kernels else {}),
        )
        self.engine.num_optimization_profiles = 2
        if not kernels:
            self.engine.create_runtime_config = lambda: plain()
        self.runtime = Recorder(self.calls, deserialize_cuda_engine=self.engine)

    def _config(self) -> Any:
        compiled = Recorder(self.calls, serialize=b"kernels", deserialize=True)
        return Recorder(self.calls, create_runtime_cache=compiled)

    def nptype(self, dtype: Any) -> Any:
        return dtype

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        return self.runtime


class FakeLog:
    bound = object()

    def take(self) -> str:
        return "its own reason"


def network(
    monkeypatch: pytest.MonkeyPatch, trt: FakeTrt, *, library: Library = TENSORRT, kernels: Path | None = None
) -> TensorRtNetwork:
    monkeypatch.setattr(tensorrt_network, "import_tensorrt", lambda library: trt)
    monkeypatch.setattr(tensorrt_network, "log_of", lambda module: FakeLog())
    return TensorRtNetwork(library, b"plan", RecordedDevice(trt.calls), kernels=kernels)  # type: ignore[arg-type]


def test_tensors_have_the_shapes_and_types_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = network(monkeypatch, FakeTrt()).tensors(CUBES)
    assert list(tensors) == [*INPUTS, *OUTPUTS]
    shapes = [tensors[name].shape for name in tensors]
    assert shapes == [CUBES, (2,), (2,), (2, SLOTS, 3), (2, SLOTS), (2, SLOTS), (2, SLOTS)]
    assert tensors["cubes"].nbytes == 2 * 32**3 * 4
    assert tensors["class_ids"].dtype == np.int32


def test_every_tensor_is_bound_once_by_name_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTrt()
    opened = network(monkeypatch, trt)
    buffers = buffers_for(opened.tensors(CUBES))
    trt.calls.clear()
    opened.bind(CUBES, buffers).enqueue(7)
    bound = [call[1:] for call in trt.calls if call[0] == "set_tensor_address"]
    assert bound == [(name, buffers[name].address) for name in buffers]
    shapes = [call[1:] for call in trt.calls if call[0] == "set_input_shape"]
    assert shapes == [("cubes", CUBES), ("mean", (2,)), ("inverse_std", (2,))]
    assert trt.calls[-1] == ("execute_async_v3", 7)
    assert "set_optimization_profile_async" not in names(trt.calls)


def test_another_profile_is_selected_before_shapes_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTrt()
    opened = network(monkeypatch, trt)
    trt.calls.clear()
    opened.bind(HALVES, buffers_for(opened.tensors(HALVES)))
    order = names(trt.calls)
    [selected] = [call for call in trt.calls if call[0] == "set_optimization_profile_async"]
    assert selected == ("set_optimization_profile_async", 1, 100)
    wanted = ["create_stream", "set_optimization_profile_async", "synchronise", "destroy_stream", "set_tensor_address"]
    assert [order.index(name) for name in wanted] == sorted(order.index(name) for name in wanted)
    assert opened.activation_bytes(HALVES) == 2 << 20


def test_a_shape_that_was_not_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"E61 tensorrt: was built for cubes of"):
        network(monkeypatch, FakeTrt()).bind((1, 1, 32, 32, 32), {})


def test_a_buffer_that_is_too_small_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = network(monkeypatch, FakeTrt())
    with pytest.raises(EngineError, match=r"E61 tensorrt: cubes takes 262144 bytes, its buffer has 262143"):
        opened.bind(CUBES, buffers_for(opened.tensors(CUBES), spare=-1))


@pytest.mark.parametrize("call", ["set_input_shape", "set_tensor_address", "set_optimization_profile_async"])
def test_a_refusal_of_the_library_is_an_engine_error(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = network(monkeypatch, FakeTrt(**{call: False}))
    with pytest.raises(EngineError, match=r"E61 tensorrt: refuses .*its own reason"):
        opened.bind(HALVES, buffers_for(opened.tensors(HALVES)))


def test_a_run_that_fails_is_an_engine_error_and_a_context_without_room_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = network(monkeypatch, FakeTrt(execute_async_v3=False))
    with pytest.raises(EngineError, match=r"E61 tensorrt: cannot run: its own reason"):
        opened.bind(CUBES, buffers_for(opened.tensors(CUBES))).enqueue(7)
    trt = FakeTrt()
    opened = network(monkeypatch, trt)
    trt.engine._answers["create_execution_context"] = None
    with pytest.raises(DeviceMemoryError, match="tensorrt has no room to run"):
        opened.bind(CUBES, buffers_for(opened.tensors(CUBES)))


def test_a_plan_that_is_not_taken_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTrt()
    trt.runtime._answers["deserialize_cuda_engine"] = None
    with pytest.raises(PlanRefusedError, match="its own reason"):
        network(monkeypatch, trt)


@pytest.mark.parametrize(
    "words", ["Requested amount of GPU memory (12 bytes) could not be allocated", "CUDA: out of memory", "OutOfMemory"]
)
def test_a_plan_that_memory_is_short_for_is_not_refused(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTrt()
    trt.runtime._answers["deserialize_cuda_engine"] = None
    monkeypatch.setattr(FakeLog, "take", lambda self: words)
    with pytest.raises(DeviceMemoryError, match=words[:10]):
        network(monkeypatch, trt)


@pytest.mark.parametrize("answer", [None, True, False])
def test_the_library_is_asked_after_the_first_run_whether_runs_can_be_recorded(
    answer: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = FakeTrt(kernels=answer is not None, is_stream_capturable=answer)
    opened = network(monkeypatch, trt, library=RTX)
    execution = opened.bind(CUBES, buffers_for(opened.tensors(CUBES)))
    assert execution.capturable
    assert "is_stream_capturable" not in names(trt.calls)
    execution.enqueue(7)
    assert execution.capturable == (answer is not False)
    assert (("is_stream_capturable", 7) in trt.calls) == (answer is not None)


def test_compiled_kernels_are_kept_and_given_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "x.kernels"
    trt = FakeTrt(kernels=True)
    first = network(monkeypatch, trt, library=RTX, kernels=file)
    assert "deserialize" not in names(trt.calls)
    first.close()
    assert file.read_bytes() == b"kernels"
    trt = FakeTrt(kernels=True)
    network(monkeypatch, trt, library=RTX, kernels=file)
    assert ("deserialize", b"kernels") in trt.calls
    order = names(trt.calls)
    assert order.index("deserialize") < order.index("set_runtime_cache")


def test_opening_builds_once_and_says_so_then_takes_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PICKER_CACHE_DIR", str(tmp_path))
    trt, built, said = FakeTrt(kernels=True), [], list[str]()
    for module in (tensorrt_network, networks):
        monkeypatch.setattr(module, "import_tensorrt", lambda library: trt)
    monkeypatch.setattr(tensorrt_network, "log_of", lambda module: FakeLog())

    def build(library: Library, graph: bytes, options: Any, *, name: str, progress: Any) -> bytes:
        built.append((library.engine, graph, options.shapes))
        progress(1, 2)
        progress(1, 2)
        return b"plan"

    monkeypatch.setattr(networks, "build_plan", build)
    graph = tmp_path / "model.fp16.onnx"
    graph.write_bytes(b"graph")
    for name in ("tensorrt", "tensorrt", "tensorrt-rtx"):
        opened = open_network(name, graph, CUBES, RecordedDevice(trt.calls), say=said.append)  # type: ignore[arg-type]
        assert (opened.name, opened.note) == (name, None)
        opened.close()
    assert built == [("tensorrt", b"graph", (CUBES,)), ("tensorrt-rtx", b"graph", (CUBES,))]
    assert said[:3] == ["building a tensorrt engine for cubes of 2x1x32x32x32, once", "building: step 1 of 2", ""]
    kept = sorted(path.suffix for path in (tmp_path / "engines").iterdir())
    assert kept == [".json", ".json", ".kernels", ".kernels", ".lock", ".lock", ".plan", ".plan"]


def test_only_tensorrt_s_own_engines_are_bound_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "import_tensorrt", lambda library: FakeTrt())
    options = networks.BuildOptions(shapes=(CUBES,), compatible=True)
    one, other = (
        networks.plan_key(library, b"graph", options, precision="fp32", gpu=FACTS) for library in (TENSORRT, RTX)
    )
    assert (one.gpu, one.compute_capability, one.driver) == ("A GPU", "8.6", "13000")
    assert (other.gpu, other.compute_capability, other.driver) == ("", "", "")
    assert one.options == ("compatible", "no-tf32")
    half = networks.plan_key(TENSORRT, b"graph", options, precision="fp16", gpu=FACTS)
    assert half.options == ("compatible",)
    assert one.version == "11.4.0"
    digests = {one.digest, other.digest, half.digest}
    retrained = networks.plan_key(TENSORRT, b"graph of another model", options, precision="fp32", gpu=FACTS)
    larger = networks.BuildOptions(shapes=((2, 1, 64, 32, 32),), compatible=True)
    reshaped = networks.plan_key(TENSORRT, b"graph", larger, precision="fp32", gpu=FACTS)
    assert len(digests | {retrained.digest, reshaped.digest}) == 5
