"""ONNX Runtime on CUDA: the engine for GPUs that TensorRT-RTX does not serve; device-resident inputs and outputs.

A session is made for one shape of cubes: with every edge known, what computes shapes is folded away and nothing is left
that belongs on the CPU. That nothing is there is demanded, and looked up where the library will not promise it.
"""

import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from picker_runtime.engines.cpu import INPUTS, OUTPUTS, last_line, load_library
from picker_runtime.engines.device import Device, DeviceBuffer, DeviceMemoryError, Shape, TensorSpec
from picker_runtime.errors import EngineError, ModelError
from picker_runtime.extras import CLEAR_ONNXRUNTIME

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
ON_THE_GPU = {"Conv", "FusedConv", "ConvTranspose", "MaxPool", "AveragePool", "TopK"}
"""Operators that must not run on the CPU."""
ERRORS_ONLY = 3
NO_CPU_NODES = "session.disable_cpu_ep_fallback"
DO_NOT_WAIT = "disable_synchronize_execution_providers"
OUT_OF_MEMORY = re.compile(
    r"Failed to allocate memory|smaller than requested bytes|out of memory|ALLOC(ATION)?_FAILED", re.I
)
"""What the library says where its arena, CUDA, cuDNN or cuBLAS finds no room; it has no error of its own for that."""
INSTALL = f"{CLEAR_ONNXRUNTIME}, then pip install 'picker-cryoet[cuda]'"
OTHER = "update the driver, or use another --engine"


class OnnxRuntimeCudaExecution:
    """A session's inputs and outputs bound to buffers, in step with the stream that a run is enqueued on."""

    capturable = False  # a run enters the library's own bookkeeping, which a recording would not repeat

    def __init__(self, session: Any, binding: Any, options: Any, device: Device, stream: int) -> None:
        self._session, self._binding, self._options = session, binding, options
        self._device, self._own = device, stream
        self._before, self._after = device.create_event(), device.create_event()

    def enqueue(self, stream: int) -> None:
        """Enqueue one run: the session's stream waits for this one, and this one for it.

        Raises:
            DeviceMemoryError: if the library's allocator finds no room.
            EngineError: E61 if the library fails.
        """
        self._device.record_event(self._before, stream)
        self._device.wait_event(self._own, self._before)
        try:
            self._session.run_with_iobinding(self._binding, self._options)
        except Exception as error:  # its own
            _raise_if_memory_is_short(error)
            raise EngineError(61, "cuda", f"cannot run: {last_line(error)}", "try a smaller tile or batch") from error
        self._device.record_event(self._after, self._own)
        self._device.wait_event(stream, self._after)

    def close(self) -> None:
        """Free the binding, and let go of the session, which keeps its arena for as long as anyone holds it."""
        self._binding = self._session = None
        self._device.destroy_event(self._before)
        self._device.destroy_event(self._after)


class OnnxRuntimeCudaNetwork:
    """A model's graph in a session on the GPU, for cubes of one shape.

    Raises:
        DeviceMemoryError: if the library's allocator finds no room.
        EngineError: E60 if the library cannot use the GPU, or would run the network on the CPU.
        ModelError: E53 if the graph is not one of ours.
    """

    name = "cuda"
    note: str | None = None

    def __init__(self, graph: Path, cubes: Shape, device: Device) -> None:
        self._library = import_onnxruntime_gpu()
        self._device, self._cubes = device, cubes
        self._stream = device.create_stream()
        self._session = self._open(graph)
        outputs = {value.name: value for value in self._session.get_outputs()}
        if {value.name for value in self._session.get_inputs()} != set(INPUTS) or not set(OUTPUTS) <= set(outputs):
            raise ModelError(53, graph.name, f"takes and gives other tensors than {INPUTS}", "export the model again")
        self._outputs = {name: (cubes[0], *outputs[name].shape[1:]) for name in OUTPUTS}

    def tensors(self, cubes: Shape) -> dict[str, TensorSpec]:
        """Return every input and output by name; `cubes` must be the shape that the session is for."""
        if cubes != self._cubes:
            raise EngineError(61, self.name, f"was opened for cubes of {self._cubes}, not {cubes}", "report this")
        shapes = {INPUTS[0]: cubes, INPUTS[1]: cubes[:1], INPUTS[2]: cubes[:1]} | self._outputs
        return {name: TensorSpec(shape=shape, dtype=_dtype(name)) for name, shape in shapes.items()}

    def activation_bytes(self, cubes: Shape) -> int | None:
        """Return None: the library's allocator grows as it runs."""
        return None

    def bind(self, cubes: Shape, buffers: Mapping[str, DeviceBuffer]) -> OnnxRuntimeCudaExecution:
        """Return an execution on these buffers."""
        binding = self._session.io_binding()
        index = self._device.facts.index
        for name, spec in self.tensors(cubes).items():
            bind = binding.bind_input if name in INPUTS else binding.bind_output
            bind(name, "cuda", index, spec.dtype.type, list(spec.shape), buffers[name].address)
        options = self._library.RunOptions()
        options.add_run_config_entry(DO_NOT_WAIT, "1")
        return OnnxRuntimeCudaExecution(self._session, binding, options, self._device, self._stream)

    def close(self) -> None:
        """Free the session."""
        self._session = None
        self._device.destroy_stream(self._stream)

    def _open(self, graph: Path) -> Any:
        """Return a session without a node on the CPU; where the library will not make one, prove which nodes are."""
        try:
            return self._checked(self._create(graph, strict=True))
        except EngineError:
            raise
        except Exception as error:  # its own: a node has no kernel on the GPU, or the GPU cannot be used at all
            _raise_if_memory_is_short(error)
            refusal = last_line(error)
        with tempfile.TemporaryDirectory() as folder:
            try:
                session = self._checked(self._create(graph, strict=False, profile=Path(folder) / "run"))
                on_cpu = self._on_cpu(session)
            except EngineError:
                raise
            except Exception as error:
                _raise_if_memory_is_short(error)
                raise EngineError(60, self.name, f"{last_line(error)} (before: {refusal})", OTHER) from error
        heavy = sorted(ON_THE_GPU & set(on_cpu))
        if heavy:
            raise EngineError(60, self.name, f"would run {', '.join(heavy)} on the CPU: {refusal}", OTHER)
        self.note = f"{sum(on_cpu.values())} small steps run on the CPU ({', '.join(sorted(on_cpu))})"
        return session

    def _create(self, graph: Path, *, strict: bool, profile: Path | None = None) -> Any:
        options = session_options(self._library, graph, self._cubes)
        if strict:
            options.add_session_config_entry(NO_CPU_NODES, "1")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        settings = {
            "device_id": str(self._device.facts.index),
            "user_compute_stream": str(self._stream),
            "use_tf32": "0",  # float32 means float32; speed is the float16 graph's
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "cudnn_conv_use_max_workspace": "1",
            "arena_extend_strategy": "kSameAsRequested",
        }
        # With the library's own fallback, why the GPU cannot be used would be printed and lost.
        return self._library.InferenceSession(graph, options, providers=[(CUDA, settings)], enable_fallback=0)

    def _checked(self, session: Any) -> Any:
        """Return the session if its first provider is CUDA; the library goes on without one that it cannot load."""
        providers = session.get_providers()
        if not providers or providers[0] != CUDA:
            problem = f"ONNX Runtime leaves the GPU out and offers {', '.join(providers) or 'nothing'}"
            raise EngineError(60, self.name, problem, OTHER)
        return session

    def _on_cpu(self, session: Any) -> Counter[str]:
        """Return how many nodes of each operator one run leaves to the CPU; the session's profile ends with it."""
        zeros = {
            INPUTS[0]: np.zeros(self._cubes, np.float32),
            INPUTS[1]: np.zeros(self._cubes[:1], np.float32),
            INPUTS[2]: np.ones(self._cubes[:1], np.float32),
        }
        session.run(list(OUTPUTS), zeros)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        nodes = [event["args"] for event in events if event.get("cat") == "Node" and "args" in event]
        return Counter(node["op_name"] for node in nodes if node.get("provider") == CPU)


def import_onnxruntime_gpu() -> Any:
    """Import ONNX Runtime with its CUDA provider, and the CUDA libraries that pip installed beside it.

    Raises:
        EngineError: E60 if it is not installed, or is the build for CPUs.
    """
    library = load_library("onnxruntime", extra="cuda")
    if CUDA not in library.get_available_providers():
        raise EngineError(60, "cuda", "the ONNX Runtime installed here is the one for CPUs", INSTALL)
    if hasattr(library, "preload_dlls"):
        library.preload_dlls()
    return library


def session_options(library: Any, graph: Path, cubes: Shape) -> Any:
    """Return options that give every dimension its number, so that nothing computes shapes."""
    options = library.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    dimensions = library.InferenceSession(graph, options, providers=[CPU]).get_inputs()
    by_name = {value.name: value.shape for value in dimensions}
    if INPUTS[0] not in by_name:
        raise ModelError(53, graph.name, f"has no input {INPUTS[0]}", "export the model again")
    fixed = library.SessionOptions()
    fixed.log_severity_level = ERRORS_ONLY
    for dimension, size in zip(by_name[INPUTS[0]], cubes, strict=True):
        if isinstance(dimension, str):
            fixed.add_free_dimension_override_by_name(dimension, size)
    return fixed


def _dtype(name: str) -> np.dtype[Any]:
    return np.dtype(np.int32 if name == "class_ids" else np.float32)


def _raise_if_memory_is_short(error: Exception) -> None:
    if OUT_OF_MEMORY.search(str(error)):
        raise DeviceMemoryError(last_line(error)) from error
