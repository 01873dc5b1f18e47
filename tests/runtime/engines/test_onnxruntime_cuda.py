"""ONNX Runtime's CUDA sessions, set up with the library's CPU build and recorded calls; no GPU is tested here."""

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from golden.blob_graph import blob_graph
from runtime.engines.recorded import RecordedDevice, Recorder, buffers_for, plain

from picker_runtime.engines import onnxruntime_cuda
from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_runtime.engines.device import DeviceMemoryError
from picker_runtime.engines.onnxruntime_cuda import (
    CPU,
    CUDA,
    NO_CPU_NODES,
    OnnxRuntimeCudaNetwork,
    import_onnxruntime_gpu,
    session_options,
)
from picker_runtime.errors import EngineError, ModelError

CUBES = (2, 1, 32, 32, 32)
MODELS = Path(onnxruntime_cuda.__file__).parents[1] / "models"
SHAPE_OPERATORS = {"Shape", "Size", "Range", "ConstantOfShape", "Loop", "If"}


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blob_graph(tmp_path_factory.mktemp("graph") / "model.onnx")


class CpuInCudaClothes:
    """ONNX Runtime's CPU build that claims to have opened sessions on CUDA; `strict` says whether it may be strict."""

    RunOptions, SessionOptions = onnxruntime.RunOptions, onnxruntime.SessionOptions

    def __init__(self, *, strict: bool, providers: tuple[str, ...] = (CUDA, CPU)) -> None:
        self.strict, self.providers = strict, providers
        self.asked: list[tuple[Any, bool]] = []

    def InferenceSession(  # noqa: N802
        self, graph: Path, options: Any, providers: list[Any], enable_fallback: int = 1
    ) -> Any:
        if providers == [CPU]:
            return onnxruntime.InferenceSession(graph, options, providers=providers)
        assert not enable_fallback  # it would print why the GPU cannot be used, and go on without
        try:
            strict = options.get_session_config_entry(NO_CPU_NODES) == "1"
        except RuntimeError:
            strict = False
        self.asked.append((providers, strict))
        if strict and not self.strict:
            raise RuntimeError("This session contains graph nodes that are assigned to the default CPU EP")
        entry = onnxruntime.SessionOptions()
        entry.enable_profiling, entry.profile_file_prefix = options.enable_profiling, options.profile_file_prefix
        entry.log_severity_level = 3
        session = onnxruntime.InferenceSession(graph, entry, providers=[CPU])
        session.get_providers = lambda: list(self.providers)
        return session


def opened(monkeypatch: pytest.MonkeyPatch, library: Any, graph: Path) -> OnnxRuntimeCudaNetwork:
    monkeypatch.setattr(onnxruntime_cuda, "import_onnxruntime_gpu", lambda: library)
    return OnnxRuntimeCudaNetwork(graph, CUBES, RecordedDevice([]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["golden", "shrec12"])
def test_with_known_edges_nothing_computes_shapes(name: str, graph: Path, tmp_path: Path) -> None:
    path = graph if name == "golden" else MODELS / name / "model.onnx"
    options = session_options(onnxruntime, path, CUBES)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=[CPU])
    assert [value.shape for value in session.get_inputs()] == [list(CUBES), [2], [2]]
    operators = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert not operators & SHAPE_OPERATORS
    assert {"Conv", "MaxPool", "TopK"} <= operators


def test_a_session_is_made_on_the_device_s_stream_without_cpu_nodes(
    monkeypatch: pytest.MonkeyPatch, graph: Path
) -> None:
    library = CpuInCudaClothes(strict=True)
    network = opened(monkeypatch, library, graph)
    [([(provider, settings)], strict)] = library.asked
    assert (provider, strict) == (CUDA, True)
    assert (settings["device_id"], settings["user_compute_stream"]) == ("0", "100")
    assert settings["use_tf32"] == "0"
    assert network.note is None
    assert {name: spec.shape for name, spec in network.tensors(CUBES).items()} == dict(
        zip([*INPUTS, *OUTPUTS], [CUBES, (2,), (2,), (2, 64, 3), (2, 64), (2, 64), (2, 64)], strict=True)
    )


def test_a_network_that_would_run_on_the_cpu_is_refused(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    """The library runs all on the CPU, and its profile, a real one, says so."""
    library = CpuInCudaClothes(strict=False)
    with pytest.raises(EngineError, match=r"E60 cuda: would run Conv, MaxPool, TopK on the CPU: .*default CPU EP"):
        opened(monkeypatch, library, graph)
    assert [strict for _, strict in library.asked] == [True, False]


def test_small_steps_on_the_cpu_are_told(monkeypatch: pytest.MonkeyPatch, graph: Path) -> None:
    monkeypatch.setattr(onnxruntime_cuda, "ON_THE_GPU", {"Loop"})
    note = opened(monkeypatch, CpuInCudaClothes(strict=False), graph).note
    assert note is not None
    assert "small steps run on the CPU" in note
    assert "TopK" in note


@pytest.mark.parametrize("providers", [(CPU,), ()])
def test_a_session_without_the_gpu_is_refused(
    providers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, graph: Path
) -> None:
    with pytest.raises(EngineError, match=r"E60 cuda: ONNX Runtime leaves the GPU out"):
        opened(monkeypatch, CpuInCudaClothes(strict=True, providers=providers), graph)


def test_the_build_for_cpus_is_refused() -> None:
    assert CUDA not in onnxruntime.get_available_providers()
    with pytest.raises(EngineError, match=r"E60 cuda: .*for CPUs. Fix: pip uninstall -y onnxruntime"):
        import_onnxruntime_gpu()


def test_a_missing_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"E60 onnxruntime: .*picker-cryoet\[cuda\]"):
        import_onnxruntime_gpu()


def test_a_graph_without_cubes_is_refused(tmp_path: Path, graph: Path) -> None:
    model = onnx.load(graph)
    for node in model.graph.node:
        node.input[:] = ["voxels" if name == "cubes" else name for name in node.input]
    model.graph.input[0].name = "voxels"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"E53 other\.onnx"):
        session_options(onnxruntime, tmp_path / "other.onnx", CUBES)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]]:
    """A network whose device, session and binding write into one list."""
    calls: list[tuple[Any, ...]] = []
    values = {"centers": [2, 64, 3], "diameters": [2, 64], "scores": [2, 64], "class_ids": [2, 64]}
    session = Recorder(
        calls,
        get_providers=[CUDA, CPU],
        get_inputs=[plain(name=name, shape=list(CUBES)) for name in INPUTS],
        get_outputs=[plain(name=name, shape=shape) for name, shape in values.items()],
        io_binding=Recorder(calls),
    )
    library = plain(
        SessionOptions=lambda: Recorder(calls),
        RunOptions=lambda: Recorder(calls),
        InferenceSession=lambda graph, options, providers, enable_fallback=1: session,
    )
    monkeypatch.setattr(onnxruntime_cuda, "import_onnxruntime_gpu", lambda: library)
    network = OnnxRuntimeCudaNetwork(Path("model.onnx"), CUBES, RecordedDevice(calls))  # type: ignore[arg-type]
    calls.clear()
    return network, calls


def test_inputs_and_outputs_are_bound_where_they_lie_on_the_device(
    recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]],
) -> None:
    network, calls = recorded
    tensors = network.tensors(CUBES)
    buffers = buffers_for(tensors)
    network.bind(CUBES, buffers)
    bound = [call for call in calls if call[0].startswith("bind_")]
    assert bound == [
        (
            "bind_input" if name in INPUTS else "bind_output", name, "cuda", 0,
            np.int32 if name == "class_ids" else np.float32, list(spec.shape), buffers[name].address,
        )
        for name, spec in tensors.items()
    ]  # fmt: skip
    assert ("add_run_config_entry", "disable_synchronize_execution_providers", "1") in calls


def test_a_run_waits_for_its_stream_and_its_stream_for_the_run(
    recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]],
) -> None:
    network, calls = recorded
    execution = network.bind(CUBES, buffers_for(network.tensors(CUBES)))
    own = network._stream
    calls.clear()
    execution.enqueue(7)
    (_, before, _), (_, _, waited), (run, *_), (_, after, _), _ = calls
    assert calls[:2] == [("record_event", before, 7), ("wait_event", own, before)]
    assert run == "run_with_iobinding"
    assert calls[3:] == [("record_event", after, own), ("wait_event", 7, after)]
    assert (waited == before, before != after) == (True, True)
    assert not execution.capturable


def test_a_closed_execution_lets_go_of_the_session_and_its_memory(
    recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]],
) -> None:
    network, _ = recorded
    network._session = Recorder([], io_binding=Recorder([]))
    execution = network.bind(CUBES, buffers_for(network.tensors(CUBES)))
    session = weakref.ref(network._session)
    network._session = None
    gc.collect()
    assert session() is not None
    execution.close()
    gc.collect()
    assert session() is None


def test_a_run_that_fails_is_an_engine_error(
    recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]],
) -> None:
    network, _ = recorded

    def fail(*_: Any) -> None:
        raise RuntimeError("somewhere in its sources\nCUDNN_STATUS_EXECUTION_FAILED")

    network._session._answers["run_with_iobinding"] = fail
    execution = network.bind(CUBES, buffers_for(network.tensors(CUBES)))
    with pytest.raises(EngineError, match=r"E61 cuda: cannot run: CUDNN_STATUS_EXECUTION_FAILED"):
        execution.enqueue(7)


SHORT = [
    "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for requested buffer of size 2830172160",
    "bfc_arena.cc:323 Available memory of 12 is smaller than requested bytes of 4096",
    "CUDA failure 2: out of memory ; GPU=0",
    "CUDNN failure 4000: CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN failure 4004: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
]


@pytest.mark.parametrize("words", SHORT)
def test_a_run_without_memory_says_so_for_smaller_ones_to_be_tried(
    words: str, recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]]
) -> None:
    network, _ = recorded

    def fail(*_: Any) -> None:
        raise RuntimeError(f"Non-zero status code returned while running Conv node.\n{words}")

    network._session._answers["run_with_iobinding"] = fail
    execution = network.bind(CUBES, buffers_for(network.tensors(CUBES)))
    with pytest.raises(DeviceMemoryError, match=words[:20]):
        execution.enqueue(7)


@pytest.mark.parametrize("words", SHORT)
def test_a_session_without_memory_says_so(words: str, graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = CpuInCudaClothes(strict=True)
    make = library.InferenceSession

    def fail(graph: Path, options: Any, providers: list[Any], enable_fallback: int = 1) -> Any:
        if providers == [CPU]:
            return make(graph, options, providers)
        raise RuntimeError(words)

    monkeypatch.setattr(library, "InferenceSession", fail)
    with pytest.raises(DeviceMemoryError, match=words[:20]):
        opened(monkeypatch, library, graph)


def test_another_shape_is_refused(recorded: tuple[OnnxRuntimeCudaNetwork, list[tuple[Any, ...]]]) -> None:
    with pytest.raises(EngineError, match="E61 cuda: was opened for cubes of"):
        recorded[0].tensors((1, 1, 32, 32, 32))
