"""Engines: the protocol, the shipped fake, and one module per library that can run a model's graph.

Nothing of a GPU is imported before a GPU engine is opened.
"""

from collections.abc import Callable
from pathlib import Path

from picker_runtime.engines.base import Engine
from picker_runtime.engines.choice import GPU_ENGINES, choose_engine, require_gpu_engine
from picker_runtime.engines.cpu import CpuEngine
from picker_runtime.engines.onnxruntime import OnnxRuntimeEngine
from picker_runtime.engines.openvino import OpenVinoEngine
from picker_runtime.errors import UsageError

ENGINES: dict[str, type[CpuEngine]] = {"openvino": OpenVinoEngine, "onnxruntime": OnnxRuntimeEngine}
"""The engines that run on the CPU, by name, the preferred one first; `GPU_ENGINES` are the others."""


def open_engine(
    name: str,
    graph: Path,
    *,
    threads: int | None = None,
    batch: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Return the engine of this name for a graph, to be entered; `auto` is the one that `choose_engine` gives.

    say: told what takes long, as building a GPU's engine does.

    Raises:
        UsageError: E80 if there is no such engine.
        EngineError: E60 if it is a GPU engine that cannot be used here.
    """
    if name == "auto":
        name = choose_engine().engine
    if name in ENGINES:
        return ENGINES[name](graph, threads=threads, batch=batch or 1)
    if name in GPU_ENGINES:
        require_gpu_engine(name)
        from picker_runtime.engines.gpu import GpuEngine

        return GpuEngine(name, graph, batch=batch, say=say)
    known = ", ".join(["auto", *GPU_ENGINES, *ENGINES])
    raise UsageError(80, "--engine", f"{name!r} is none of {known}", "give one of them")
