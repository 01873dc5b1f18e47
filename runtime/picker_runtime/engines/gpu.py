"""The GPU engines as users name them: the pipeline on a device, in a process of its own."""

from functools import partial
from pathlib import Path

from picker_runtime.engines.child import ChildEngine
from picker_runtime.engines.choice import GPU_ENGINES
from picker_runtime.engines.cuda import CudaDevice
from picker_runtime.engines.device import Device, Network, Shape
from picker_runtime.engines.gpu_pipeline import GpuPipeline
from picker_runtime.engines.networks import open_network
from picker_runtime.engines.rigs import Say


class GpuEngine(ChildEngine):
    """A GPU engine by its name in `GPU_ENGINES`, for a graph; `batch`: as of the pipeline, `say`: as of its process."""

    def __init__(self, name: str, graph: Path, *, batch: int | None = None, say: Say = lambda line: None) -> None:
        arguments = {"name": name, "graph": str(graph), "batch": batch}
        super().__init__(name, factory=f"{__name__}:open_pipeline", arguments=arguments, say=say)


def open_pipeline(name: str, graph: str, batch: int | None, say: Say) -> GpuPipeline:
    """Return the pipeline of this name in this process, to be entered."""
    return GpuPipeline(
        name,
        open_device=partial(CudaDevice, extra=GPU_ENGINES[name].extra),
        open_network=partial(_network, name, Path(graph)),
        batch=batch,
        say=say,
    )


def _network(name: str, graph: Path, cubes: Shape, device: Device, say: Say) -> Network:
    return open_network(name, graph, cubes, device, say=say)
