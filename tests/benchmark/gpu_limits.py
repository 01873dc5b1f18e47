"""Job: the GPU pipeline at its limits: large volumes, little memory, a process that dies or hangs amid a tomogram.

    python tests/benchmark/gpu_limits.py -o DIR [--engine cuda] [--precision fp16] [--model shrec12]
                                         [--shape 200,512,512 ...] [--allowance-gb 8 ...] [--rehearse]

Every step is compared with the same volume with all memory and without an accident: the same candidates, or how many
differ. An allowance limits what the pipeline allocates, not what a library takes for itself; below some, tiles are
halved and candidates near their seams may differ. Steps that DIR/limits.json holds are not done again, unless they
failed or had nothing to be compared with. `--rehearse` needs no GPU: a device of numpy arrays, small volumes and a
model without training.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training", "tests")]  # where nothing is installed

from benchmark.detect_tomogram import write_volume  # noqa: E402
from benchmark.limited_device import LimitedDevice  # noqa: E402

from picker_runtime.bundle import Bundle  # noqa: E402
from picker_runtime.detections import Detections  # noqa: E402
from picker_runtime.engines.base import Engine, take_warnings  # noqa: E402
from picker_runtime.engines.child import ChildEngine  # noqa: E402
from picker_runtime.engines.choice import GPU_ENGINES  # noqa: E402
from picker_runtime.engines.cutting import CuttingDevice  # noqa: E402
from picker_runtime.engines.gpu_pipeline import GpuPipeline  # noqa: E402
from picker_runtime.engines.networks import open_network  # noqa: E402
from picker_runtime.engines.rigs import OpenNetwork  # noqa: E402
from picker_runtime.geometry import Triple  # noqa: E402
from picker_runtime.scanning import Scanner  # noqa: E402
from picker_runtime.tomogram import Tomogram  # noqa: E402

SHAPES = ("200,512,512", "400,1024,1024", "800,1024,1024")
ALLOWANCES_GB = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
SILENCE_SECONDS = 20.0
"""Without a word for so long a stopped process counts as hung."""


@dataclass(frozen=True, kw_only=True)
class Stand:
    """What the steps run on: a model, a way to a device and to a network on it, and to an engine in a process."""

    bundle: Bundle
    tile: Triple | None
    name: str
    open_device: Callable[[], CuttingDevice]
    open_network: OpenNetwork
    open_child: Callable[[], ChildEngine]
    unit: float  # bytes of an allowance of one
    strike_after: float  # seconds from the start of a tomogram to a signal


def gpu(engine: str, precision: str, model: str) -> Stand:
    """Return the stand on the first GPU."""
    from picker_runtime.engines.cuda import CudaDevice

    bundle = Bundle.open(model)
    graph = bundle.graphs[precision]
    arguments = {"name": engine, "graph": str(graph), "batch": None}
    return Stand(
        bundle=bundle,
        tile=None,
        name=engine,
        open_device=partial(CudaDevice, extra=GPU_ENGINES[engine].extra),
        open_network=lambda cubes, device, say: open_network(engine, graph, cubes, device, say=say),
        open_child=lambda: ChildEngine(
            engine, factory="picker_runtime.engines.gpu:open_pipeline", arguments=arguments, silence=SILENCE_SECONDS
        ),
        unit=1e9,
        strike_after=0.3,
    )


def rehearsal(folder: Path) -> Stand:
    """Return the stand without a GPU: numpy, a hand-made model; an allowance is in megabytes."""
    from golden.blob_graph import golden_bundle
    from runtime.engines.fake_device import FakeDevice
    from runtime.engines.test_gpu_picks import OnnxNetwork

    bundle = Bundle.open(golden_bundle(folder / "golden", max_candidates=1024, dark=True))
    device = FakeDevice(chance=0.1)
    arguments = {"name": "openvino", "graph": str(bundle.graph), "threads": 1}
    return Stand(
        bundle=bundle,
        tile=(48, 48, 48),
        name="fake",
        open_device=lambda: device,
        open_network=lambda *_: OnnxNetwork(device, bundle.graph, bundle.card.max_candidates),
        open_child=lambda: ChildEngine(
            "fake", factory="runtime.engines.child_engines:opened", arguments=arguments, silence=3.0
        ),
        unit=1e6,
        strike_after=0.0,
    )


def scan(stand: Stand, engine: Engine, path: Path) -> tuple[Detections, dict[str, Any]]:
    """Return the candidates of a volume, and the seconds and warnings of finding them; the engine is entered."""
    with Tomogram.open(path) as tomogram:
        scanner = Scanner(engine=engine, card=stand.bundle.card, tile=stand.tile, halo=stand.bundle.card.halo)
        started = time.perf_counter()
        found = scanner.scan(tomogram).candidates
        facts = {"seconds": time.perf_counter() - started, "candidates": len(found)}
        return found, facts | {"warnings": [*tomogram.warnings, *take_warnings(engine)]}


def limited(stand: Stand, path: Path, allowance: float | None) -> tuple[Detections, dict[str, Any]]:
    """Return what is found with an allowance of device memory, in bytes; None for all there is."""
    made: list[LimitedDevice] = []

    def device() -> Any:
        made.append(LimitedDevice(stand.open_device(), allowance))
        return made[0]

    with GpuPipeline(stand.name, open_device=device, open_network=stand.open_network) as pipeline:
        found, facts = scan(stand, pipeline, path)
    return found, facts | {"most_bytes": made[0].most}


def in_a_process(stand: Stand, path: Path, number: signal.Signals | None) -> tuple[Detections, dict[str, Any]]:
    """Return what is found by an engine in a process, which may get a signal soon after it has begun."""
    with stand.open_child() as child:
        process = child._process
        if process is None:
            raise RuntimeError("the engine has no process")
        if number is None:
            return scan(stand, child, path)
        struck = threading.Timer(stand.strike_after, os.kill, (process._process.pid, number))
        struck.start()
        if not stand.strike_after:
            struck.join()
        found, facts = scan(stand, child, path)
        struck.join()
    return found, facts


def differing(a: Detections, b: Detections) -> int:
    """Return how many rows of two lists the other has not."""
    rows = [set(map(tuple, np.column_stack((d.positions, d.scores, d.class_ids)).tolist())) for d in (a, b)]
    return len(rows[0] ^ rows[1])


def finished(report: dict[str, Any], name: str, *, compared: bool) -> bool:
    """Return whether a step need not be done again; compared: it is to be compared with another."""
    facts = report.get(name, {"failed": "not done"})
    return "failed" not in facts and not (compared and facts["differing"] is None)


def steps(stand: Stand, options: argparse.Namespace, folder: Path, report: dict[str, Any]) -> None:
    """Do every step that the report does not hold as finished, and write it after each."""

    def do(name: str, work: Callable[[], tuple[Detections, dict[str, Any]]], reference: Detections | None) -> Any:
        try:
            found, facts = work()
            facts["differing"] = None if reference is None else differing(found, reference)
        except Exception as error:
            found, facts = reference, {"failed": f"{type(error).__name__}: {error}"}
        report[name] = facts
        (options.output / "limits.json").write_text(json.dumps(report, indent=2) + "\n")
        print(name, facts, flush=True)
        return found

    for shape in options.shape:
        z, y, x = map(int, shape.split(","))
        wanted = {f"{shape}, allowance {a:g}": a * stand.unit for a in options.allowance_gb}
        alone = f"{shape}, in a process"
        accidents = {f"{alone}, {number.name}": number for number in (signal.SIGKILL, signal.SIGSTOP)}
        names = {shape: False, alone: False} | dict.fromkeys([*wanted, *accidents], True)
        if all(finished(report, name, compared=compared) for name, compared in names.items()):
            continue
        path = folder / f"{z}x{y}x{x}.mrc"
        write_volume(path, (z, y, x), stand.bundle.card.voxel_size_angstrom)
        whole = do(shape, partial(limited, stand, path, None), None)
        for name, allowance in wanted.items():
            if not finished(report, name, compared=True):
                do(name, partial(limited, stand, path, allowance), whole)
        calm = do(alone, partial(in_a_process, stand, path, None), None)
        for name, number in accidents.items():
            if not finished(report, name, compared=True):
                do(name, partial(in_a_process, stand, path, number), calm)
        path.unlink()


def main() -> None:
    """Read what was done, do the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--engine", default="cuda", choices=list(GPU_ENGINES))
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--shape", action="append")
    parser.add_argument("--allowance-gb", type=float, action="append")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    options.shape = options.shape or (["64,96,96"] if options.rehearse else list(SHAPES))
    options.allowance_gb = options.allowance_gb or ([8, 4, 2] if options.rehearse else list(ALLOWANCES_GB))
    options.output.mkdir(parents=True, exist_ok=True)
    done = options.output / "limits.json"
    report: dict[str, Any] = json.loads(done.read_text()) if done.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stand = rehearsal(folder) if options.rehearse else gpu(options.engine, options.precision, options.model)
        steps(stand, options, folder, report)


if __name__ == "__main__":
    main()
