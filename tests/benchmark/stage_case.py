"""One case of the stages: an engine and a precision on a volume; from nothing, opened again, warm, stage by stage."""

import math
import os
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark.timed_device import TimedDevice, TimedNetwork

from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.detector import Detection, Picker
from picker_runtime.engines import open_engine
from picker_runtime.engines.choice import GPU_ENGINES, ON_CPU
from picker_runtime.engines.cpu import CpuEngine
from picker_runtime.engines.cutting import CuttingDevice
from picker_runtime.engines.device import Device, Shape
from picker_runtime.engines.gpu_pipeline import GpuPipeline
from picker_runtime.engines.rigs import OpenNetwork, Say
from picker_runtime.geometry import Triple
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.outputs import write_outputs
from picker_runtime.scanning import tiles_of
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram
from picker_training.calibration import radii_voxels


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured; tile: edges of a cube at most, zyx voxels, None for what suits the volume."""

    model: str
    engine: str
    precision: str
    tile: Triple | None
    volume: str
    batch: int
    threads: int
    repeats: int


def run_case(case: Case) -> dict[str, Any]:
    """Return every figure of a case."""
    volume, bundle = Path(case.volume), Bundle.open(case.model)
    figures, warm, picks = _whole(case, volume)
    with Tomogram.open(volume) as tomogram:
        tiles = tiles_of(bundle.card, tomogram.shape, tile=case.tile)
        apart = _apart(case, bundle, tomogram, tiles, volume)
    shape, cube = tomogram.shape, tiles[0].cube.shape
    rates, bound = _ceilings(case, bundle, len(tiles) * math.prod(cube))
    figures["of roofline"] = bound / apart["network"] if bound else None
    return {
        "shape": list(shape),
        "cube": list(cube),
        "cubes": len(tiles),
        "warm": warm,
        "apart": apart,
        "figures": figures,
        "rates": rates,
        "picks": np.column_stack((picks.positions, picks.scores, picks.class_ids)).tolist(),
        "radii": radii_voxels(bundle.card, bundle.card.voxel_size_angstrom).tolist(),
    }


def _whole(case: Case, volume: Path) -> tuple[dict[str, Any], dict[str, float], Detections]:
    """Return figures of whole detections, the warm one's seconds by stage, and its picks."""
    warm: dict[str, float] = {}
    last: list[Detection] = []

    def repeat(picker: Picker) -> None:
        runs = [_detect(picker, volume, Path(folder) / "picks") for _ in range(case.repeats)]
        warm.update({stage: statistics.median(seconds[stage] for seconds, _ in runs) for stage in runs[0][0]})
        _forget(volume)
        cold, detection = _detect(picker, volume, Path(folder) / "picks")
        figures["cold file"] = cold["file to picks"]
        last.append(detection)

    figures: dict[str, Any] = {}
    on_gpu = case.engine in GPU_ENGINES
    with tempfile.TemporaryDirectory() as folder, _device_memory(watched=on_gpu) as memory:
        build, start = (_opened(case, volume, lambda picker: None) for _ in range(2))
        _opened(case, volume, repeat)
    once = warm["file to picks"] - warm["write"]
    figures |= {"build": build - once, "start": start - once, "picks": len(last[0].picks)}
    figures |= {"host MB": _peak_megabytes(with_child=on_gpu), "device MB": memory[0]}
    return figures, warm, last[0].picks


def _ceilings(case: Case, bundle: Bundle, voxels: int) -> tuple[dict[str, dict[str, float]], float | None]:
    """Return the device's rates, and the seconds that the network needs at them for so many voxels."""
    from benchmark.ceilings import cpu_ceilings, gpu_ceilings, roofline_seconds  # they load PyTorch: not before

    from picker_training.model_card import load_network

    on_gpu = case.engine in GPU_ENGINES
    rates = {"cpu": cpu_ceilings(Path(case.volume)), "gpu": gpu_ceilings() if on_gpu else {}}
    precision = "fp32" if case.precision == "int8" else case.precision
    return rates, roofline_seconds(load_network(bundle), voxels, rates["gpu" if on_gpu else "cpu"], precision)


def _opened(case: Case, volume: Path, work: Callable[[Picker], None]) -> float:
    """Return the seconds from an engine that is not there to the first picks; then let it work on."""
    started = time.perf_counter()
    with Picker(
        case.model, engine=case.engine, precision=case.precision, threads=case.threads, tile=case.tile,
        batch=case.batch,
    ) as picker:  # fmt: skip
        picker.detect(volume)
        seconds = time.perf_counter() - started
        work(picker)
    return seconds


def _detect(picker: Picker, volume: Path, target: Path) -> tuple[dict[str, float], Detection]:
    """Return the seconds by stage of one tomogram, from opening it to its last file, and the detection."""
    started = time.perf_counter()
    detection = picker.detect(volume)
    written = time.perf_counter()
    write_outputs(target, detection, tomogram=volume, formats=(), relion_centre="core")
    ended = time.perf_counter()
    whole = {"write": ended - written, "file to picks": ended - started}
    return detection.record.timings | whole, detection


def _apart(case: Case, bundle: Bundle, tomogram: Tomogram, tiles: list[Tile], volume: Path) -> dict[str, float]:
    """Return the seconds of the stages when nothing overlaps."""
    source = NormalisedSource(tomogram, measure(tomogram))
    graph = bundle.graphs[case.precision]
    if case.engine in ON_CPU:
        with open_engine(case.engine, graph, threads=case.threads, batch=case.batch) as engine:
            return on_cpu(engine, source, tiles)
    from picker_runtime.engines.cuda import CudaDevice
    from picker_runtime.engines.networks import open_network

    seconds = on_gpu(
        case.engine,
        open_device=partial(CudaDevice, extra=GPU_ENGINES[case.engine].extra),
        open_network=lambda cubes, device, say: open_network(case.engine, graph, cubes, device, say=say),
        source=source,
        tiles=tiles,
        batch=case.batch,
    )
    started = time.perf_counter()
    volume.read_bytes()
    return seconds | {"read": time.perf_counter() - started}


def on_cpu(engine: Any, source: NormalisedSource, tiles: list[Tile]) -> dict[str, float]:
    """Return the seconds of reading cubes and of the graph, one after another."""
    if not isinstance(engine, CpuEngine):
        raise TypeError(f"{engine.name} runs on no CPU")
    seconds: Counter[str] = Counter()
    numbers = {
        name: np.full(engine.batch, value, np.float32)
        for name, value in (("mean", source.mean), ("inverse_std", source.inverse_std))
    }
    for i, tile in enumerate([tiles[0], *tiles]):  # the first compiles
        started = time.perf_counter()
        cube = source.read(tile.cube)
        read = time.perf_counter()
        stacked = np.zeros((engine.batch, 1, *tile.cube.shape), np.float32)
        stacked[0, 0] = 0 if cube is None else cube
        stacked_at = time.perf_counter()
        engine.infer({"cubes": stacked} | numbers)
        if i:
            seconds["read"] += read - started
            seconds["network"] += time.perf_counter() - stacked_at
    return dict(seconds)


def on_gpu(
    name: str,
    *,
    open_device: Callable[[], CuttingDevice],
    open_network: OpenNetwork,
    source: Any,
    tiles: list[Tile],
    batch: int,
) -> dict[str, float]:
    """Return the seconds of upload, cutting, network and results, one after another, in this process."""
    timed: list[TimedDevice] = []

    def device() -> Any:
        timed.append(TimedDevice(open_device()))
        return timed[0]

    def network(cubes: Shape, on: Device, say: Say) -> Any:
        return TimedNetwork(open_network(cubes, on, say), timed[0])

    with GpuPipeline(name, open_device=device, open_network=network, batch=batch) as pipeline:
        seconds = timed[0].seconds
        list(pipeline.stream(source, tiles))
        upload = seconds["upload"]  # the volume stays
        seconds.clear()  # libraries have settled down
        list(pipeline.stream(source, tiles))
    return {**seconds, "upload": upload}


def _forget(path: Path) -> None:
    """Ask the system to drop a file from its page cache."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _peak_megabytes(*, with_child: bool) -> float:
    """Return the most memory of this process, and of the largest process that it started and that has ended."""
    own = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if with_child else 0
    return (own + child) * 1024 / 1e6


@contextmanager
def _device_memory(*, watched: bool) -> Iterator[list[float | None]]:
    """Watch the memory in use on the first GPU; afterwards the list holds its largest growth in MB."""
    growth: list[float | None] = [None]
    if not watched:
        yield growth
        return
    before, most, ended = _used_megabytes(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            most[0] = max(most[0], _used_megabytes() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield growth
    finally:
        ended.set()
        thread.join()
        growth[0] = most[0]


def _used_megabytes() -> float:
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) * 1.048576
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 0.0
