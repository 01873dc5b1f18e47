"""Engines: the protocol, the shipped fake, and one module per library that can run a model's graph."""

from pathlib import Path

from picker_runtime.engines.base import Engine
from picker_runtime.engines.cpu import CpuEngine
from picker_runtime.engines.onnxruntime import OnnxRuntimeEngine
from picker_runtime.engines.openvino import OpenVinoEngine
from picker_runtime.errors import UsageError

ENGINES: dict[str, type[CpuEngine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
"""Engines by name, the one that `auto` prefers first."""


def open_engine(name: str, graph: Path, *, threads: int | None = None, batch: int = 1) -> Engine:
    """Return the engine of this name for a graph, to be entered; `auto` is the first of the table.

    Raises:
        UsageError: E80 if there is no such engine.
    """
    if name == "auto":
        name = next(iter(ENGINES))
    if name not in ENGINES:
        raise UsageError(80, "--engine", f"{name!r} is none of auto, {', '.join(ENGINES)}", "give one of them")
    return ENGINES[name](graph, threads=threads, batch=batch)
