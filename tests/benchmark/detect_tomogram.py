"""Seconds and peak memory of one tomogram from file to picks, by stage, and the network's share of the GEMM rate.

    python tests/benchmark/detect_tomogram.py [--model shrec12] [--shape 200 512 512] [--threads 2] [--repeats 3]
                                              [--precision fp32 int8] [--larger] [--tile N|Z,Y,X] [--batch 1]

The tomogram is the packaged sample, repeated to fill the shape; white noise where there is no sample. `--larger` adds a
run on a tomogram four times as tall, whose peak memory should be the same. The GEMM rate is that of a float32 matrix
product in the same run, so that figures of different machines, or of a busy one, can be compared. Precisions take
turns, and are compared with the first.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from picker_runtime.bundle import Bundle
from picker_runtime.doctor import gemm_gflops
from picker_runtime.engines.openvino import import_openvino
from picker_runtime.geometry import Box, Triple
from picker_runtime.mrc import write_mrc
from picker_runtime.sample import SAMPLES
from picker_runtime.scanning import tiles_of
from picker_runtime.settings import parse_tile
from picker_runtime.tomogram import Tomogram

PROGRAM = """
import atexit, sys
from picker_runtime.cli import main
atexit.register(lambda: sys.stderr.writelines(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
main()
"""
"""Detects, then tells its own peak memory: what the system counts for a child begins with its parent's."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One detection: seconds from file to picks and by stage, of all processors too, peak memory in MB, picks."""

    seconds: float
    processor_seconds: float
    stages: dict[str, float]
    megabytes: float
    picks: int


def write_volume(path: Path, shape: Triple, voxel_size: float) -> None:
    """Write the sample, repeated to fill the shape, as float32; white noise where there is no sample."""
    samples = sorted(SAMPLES.glob("*.mrc"))
    if samples:
        with Tomogram.open(samples[0]) as sample:
            volume = sample.read(Box.whole(sample.shape))
        for axis, size in enumerate(shape):
            volume = np.take(volume, np.arange(size), axis, mode="wrap")
    else:
        volume = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    write_mrc(path, volume, voxel_size)


def detect(path: Path, folder: Path, precision: str, options: argparse.Namespace) -> Run:
    """Detect in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, "detect", str(path), "-o", str(folder), "--model", options.model]
    command += ["--precision", precision, "--batch", str(options.batch), "--threads", str(options.threads)]
    command += ["--json", "--quiet"]
    command += ["--tile", options.tile] if options.tile else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode:
        raise SystemExit(f"detect ended with status {ended.returncode}: {ended.stderr}")
    record = json.loads(ended.stdout)
    return Run(
        seconds=record["seconds"],
        processor_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        stages=record["timings"],
        megabytes=int(ended.stderr.split("VmHWM:")[1].split()[0]) * 1024 / 1e6,
        picks=sum(record["counts"].values()),
    )


def network_gflop(bundle: Bundle, shape: Triple, tile: Triple | None) -> float:
    """Return the convolutions' operations on all cubes of a tomogram, 2 for each multiplication and addition."""
    tiles = tiles_of(bundle.card, shape, tile=tile)
    model = import_openvino().Core().read_model(bundle.graph)
    model.reshape({"cubes": [1, 1, *tiles[0].cube.shape], "mean": [1], "inverse_std": [1]})
    flop = 0.0
    for node in model.get_ops():
        if node.get_type_name() == "Convolution":
            flop += 2.0 * np.prod(node.get_output_shape(0)) * np.prod(node.get_input_shape(1)[1:])
    return flop * len(tiles) / 1e9


def parse() -> argparse.Namespace:
    """Return the options of this run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--shape", type=int, nargs=3, default=(200, 512, 512))
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--tile")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--larger", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    options = parse()
    bundle = Bundle.open(options.model)
    z, y, x = options.shape
    gflop = network_gflop(bundle, (z, y, x), parse_tile(options.tile))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volume(folder / "volume.mrc", (z, y, x), bundle.card.voxel_size_angstrom)
        runs: dict[str, list[tuple[Run, float]]] = {precision: [] for precision in options.precision}
        for _ in range(options.repeats):
            for precision, done in runs.items():
                rate = gemm_gflops()
                done.append((detect(folder / "volume.mrc", folder / "picks", precision, options), rate))
        print(f"{z} x {y} x {x} voxels, {options.threads} threads, best of {options.repeats}")
        best = {precision: min(done, key=lambda pair: pair[0].seconds) for precision, done in runs.items()}
        for precision, (run, rate) in best.items():
            report(precision, run, rate, gflop)
        first, *others = ((precision, run) for precision, (run, _) in best.items())
        for precision, run in others:
            inference = first[1].stages["inference"] / run.stages["inference"]
            whole = first[1].seconds / run.seconds
            print(f"{precision} over {first[0]}: {inference:.2f} times as fast, {whole:.2f} from file to picks")
        if options.larger:
            write_volume(folder / "volume.mrc", (4 * z, y, x), bundle.card.voxel_size_angstrom)
            larger = detect(folder / "volume.mrc", folder / "picks", first[0], options)
            change = larger.megabytes / first[1].megabytes - 1
            print(f"four times as tall: {larger.seconds:.2f} s, at most {larger.megabytes:.0f} MB ({change:+.1%})")


def report(precision: str, run: Run, rate: float, gflop: float) -> None:
    """Print what a precision took, beside the GEMM rate of the same minute."""
    print(f"{precision}: {run.picks} picks")
    for stage, seconds in run.stages.items():
        print(f"  {stage:<12} {seconds:8.2f} s")
    print(f"  {'file to picks':<12} {run.seconds:7.2f} s, at most {run.megabytes:.0f} MB")
    print(f"  processor time of the whole command {run.processor_seconds:.1f} s")
    achieved = gflop / run.stages["inference"]
    print(f"  network {gflop:.0f} GFLOP, {achieved:.0f} GFLOP/s, {achieved / rate:.2f} of the GEMM rate of {rate:.0f}")
    print(f"  at a GEMM rate of 170 GFLOP/s: {run.seconds * rate / 170:.2f} s")


if __name__ == "__main__":
    main()
