"""OpenVINO on the CPU: the default engine; float32 at the speed of the machine's matrix product."""

import sys
from collections import OrderedDict
from types import ModuleType
from typing import Any

from picker_runtime.engines.cpu import OUTPUTS, Arrays, CpuEngine, load_library

COMPILED_SHAPES = 2  # a plan's cubes and one other shape (halves of crowded tiles)
TELEMETRY = "openvino_telemetry"


class OpenVinoEngine(CpuEngine):
    """Runs the graph with OpenVINO, compiled once per cube shape, always in float32."""

    name = "openvino"

    def _open(self) -> tuple[list[str], list[str]]:
        self._core = import_openvino().Core()
        self._model = self._core.read_model(self.graph)
        self._requests: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        return [p.any_name for p in self._model.inputs], [p.any_name for p in self._model.outputs]

    def infer(self, inputs: Arrays) -> Arrays:
        """Run the graph; return its outputs by name."""
        request = self._request(inputs["cubes"].shape)
        request.infer(dict(inputs), share_inputs=True)
        return {name: request.get_tensor(name).data.copy() for name in OUTPUTS}

    def _request(self, shape: tuple[int, ...]) -> Any:
        """Return the graph compiled for this shape of `cubes`, from the few used last."""
        if shape not in self._requests:
            while len(self._requests) >= COMPILED_SHAPES:
                self._requests.popitem(last=False)
            model = self._model.clone()
            model.reshape({"cubes": list(shape), "mean": [shape[0]], "inverse_std": [shape[0]]})
            self._requests[shape] = self._core.compile_model(model, "CPU", self._options()).create_infer_request()
        self._requests.move_to_end(shape)
        return self._requests[shape]

    def _options(self) -> dict[str, Any]:
        return {
            "INFERENCE_PRECISION_HINT": "f32",  # its default is bfloat16 where the CPU has it
            "EXECUTION_MODE_HINT": "ACCURACY",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": self.threads,
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        }

    def _close(self) -> None:
        self._requests.clear()
        del self._model, self._core


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    Raises:
        EngineError: E60 if it is not installed.
    """
    return import_without_telemetry("openvino")


def import_without_telemetry(module: str, *, extra: str | None = None) -> ModuleType:
    """Import OpenVINO, or what belongs to it, without its telemetry, which reports imports and leaves files at home.

    With that package hidden during the first import each takes its own stub instead, for good.

    Raises:
        EngineError: E60, naming the pip line, if it is not installed.
    """
    if module in sys.modules or TELEMETRY in sys.modules:
        return load_library(module, extra=extra)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        return load_library(module, extra=extra)
    finally:
        del sys.modules[TELEMETRY]
