"""ONNX Runtime on the CPU: the second engine, an independent check of the first."""

from typing import Any

from picker_runtime.engines.cpu import OUTPUTS, Arrays, CpuEngine, load_library

ERRORS_ONLY = 3  # its severity numbers: 2 is warnings


class OnnxRuntimeEngine(CpuEngine):
    """Runs the graph with ONNX Runtime's CPU provider."""

    name = "onnxruntime"

    def _open(self) -> tuple[list[str], list[str]]:
        library = load_library("onnxruntime", extra="export")
        options = library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        self._session: Any = library.InferenceSession(self.graph, options, providers=["CPUExecutionProvider"])
        return [p.name for p in self._session.get_inputs()], [p.name for p in self._session.get_outputs()]

    def infer(self, inputs: Arrays) -> Arrays:
        """Run the graph; return its outputs by name."""
        return dict(zip(OUTPUTS, self._session.run(list(OUTPUTS), dict(inputs)), strict=True))

    def _close(self) -> None:
        del self._session
