"""Engines built ahead of their first use: a bundle's graph in a precision, for one tile, into the cache or a file."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from picker_runtime.atomic import write_bytes
from picker_runtime.bundle import GRAPHS, Bundle
from picker_runtime.engines.cache import EngineCache, PlanKey, Say
from picker_runtime.engines.choice import ON_GPU
from picker_runtime.engines.driver import probe_driver
from picker_runtime.engines.networks import announced_build, first_gpu, plan_key
from picker_runtime.engines.sizing import good_batch
from picker_runtime.engines.tensorrt import (
    LIBRARIES,
    RTX,
    TENSORRT,
    BuildOptions,
    check_can_build,
    import_tensorrt,
    read_graph,
)
from picker_runtime.errors import EngineError, UsageError
from picker_runtime.geometry import Triple
from picker_runtime.scanning import tiles_of

NAMES = {"tensorrt": TENSORRT.engine, "rtx": RTX.engine}


@dataclass(frozen=True, kw_only=True)
class EngineOrder:
    """Which engine to build: the one that detection takes, on the GPU that is here, in a tomogram of some shape.

    tomogram: that shape, zyx voxels. tile, batch: detection's `--tile`, upper bounds of a cube's edges, and its
    `--batch`, cubes at a time; None where it is given none.
    compatible: for later versions and other GPUs too.

    Raises:
        UsageError: E80 for an unknown library or precision.
    """

    library: str
    precision: str
    tile: Triple | None = None
    tomogram: Triple
    batch: int | None = None
    compatible: bool = False

    def __post_init__(self) -> None:
        for option, value, known in (("library", self.library, NAMES), ("precision", self.precision, ON_GPU)):
            if value not in known:
                raise UsageError(80, f"--{option}", f"{value!r} is none of {', '.join(known)}", "give one of them")


def write_engine(model: str, order: EngineOrder, output: Path | None, say: Say) -> dict[str, Any]:
    """Build an engine into a file, or where detection looks for it, and return the facts about it.

    Raises:
        EngineError: E60 if the library is not installed or cannot build here, E62 if the graph cannot be built.
        ModelError: E50 to E53 if the model cannot be used.
        UsageError: E80 if the tile is too small for it, or a compatible engine has no file to go to.
        OutputError: E70 or E71 if the file cannot be written.
    """
    if order.compatible and output is None:
        raise UsageError(80, "--compatible", "detection builds its own, faster engines", "name a file with -o")
    bundle = Bundle.open(model)
    library = LIBRARIES[NAMES[order.library]]
    options = BuildOptions(shapes=(_cubes(bundle, order),), compatible=order.compatible)
    graph, name = _graph(bundle, order.precision, say)
    start = time.perf_counter()

    def build() -> bytes:
        return announced_build(library, graph, options, name=name, say=say)

    if output is not None:
        plan, note, file = build(), None, output
        write_bytes(output, plan)
    else:
        check_can_build(library)
        key = plan_key(library, graph, options, precision=order.precision, gpu=first_gpu())
        plan, note, file = _cached(key, build, say)
    return {
        "file": str(file),
        "library": library.engine,
        "version": str(import_tensorrt(library).__version__),
        "precision": order.precision,
        "cubes": list(options.shapes[0]),
        "bytes": len(plan),
        "seconds": round(time.perf_counter() - start, 2),
        "note": note,
    }


def _cached(key: PlanKey, build: Callable[[], bytes], say: Say) -> tuple[bytes, str | None, Path]:
    """Return the plan of this key from the cache, built where it is not there, with a note and its file."""
    cache = EngineCache()
    if not cache.is_private:
        problem = "is no folder of yours alone, to keep engines in"
        raise EngineError(60, str(cache.folder), problem, "chmod 0700 it, set PICKER_CACHE_DIR, or give -o")
    found = cache.get(key, build=build, load=lambda plan: plan, say=say)
    return found.value, found.note, cache.path(key)


def _cubes(bundle: Bundle, order: EngineOrder) -> tuple[int, int, int, int, int]:
    tiles = tiles_of(bundle.card, order.tomogram, tile=order.tile)
    cube = tiles[0].cube.shape
    return (order.batch or good_batch(len(tiles), math.prod(cube), free=_memory()), 1, *cube)


def _memory() -> int:
    """Return the bytes of the first GPU's memory; without a GPU, enough for anything."""
    gpus = probe_driver().gpus
    return gpus[0].memory if gpus else sys.maxsize


def _graph(bundle: Bundle, precision: str, say: Say) -> tuple[bytes, str]:
    """Return the graph's bytes and name; float16 is the bundle's own where it has one."""
    if precision in bundle.graphs:
        return read_graph(bundle.graphs[precision]), bundle.graphs[precision].name
    say(f"{bundle.card.name} has no {GRAPHS[precision]}: converting its float32 graph")
    from picker_export.half import half_graph  # needs onnx, a graph that is there does not

    return half_graph(bundle.graph), GRAPHS[precision]
