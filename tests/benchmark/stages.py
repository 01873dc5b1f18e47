"""Seconds of every stage from file to picks, by engine, precision, tile and volume, beside what the device could do.

    python tests/benchmark/stages.py -o DIR [--model shrec12] [--engine openvino ...] [--precision fp32 ...]
                                     [--tile 216,200,280 ...] [--shape 200,512,512 ...] [--batch 1] [--repeats 3]
                                     [--threads 2] [--no-yardsticks]

Without `--engine` it takes every engine that can be used here, without `--precision` every one that the model has.
Each case runs in a process of its own, with an empty cache of engines: first from nothing (`build`), then opened again
(`start`), both without the tomogram's own seconds, then warm. Behind `file to picks`, which is warm, stand the same on
a file that is not in the page cache, and the work done one stage after another, nothing overlapping: reading, upload
and network. A case that fails says why. Picks are compared with those of the first case of the same volume. Figures are
the median of the repeats. Rates of the device (the best of several) and PyTorch's seconds on the same volume are
measured in the same run. Writes DIR/stages.json and DIR/stages.md.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training", "tests")]  # where nothing is installed

from benchmark.detect_tomogram import write_volume  # noqa: E402
from benchmark.stage_case import Case, run_case  # noqa: E402

from picker_runtime.bundle import Bundle  # noqa: E402
from picker_runtime.detections import Detections  # noqa: E402
from picker_runtime.engines.choice import GPU_ENGINES, ON_CPU, installed, obstacle_to, precisions_of  # noqa: E402
from picker_runtime.settings import parse_tile  # noqa: E402
from picker_training.calibration import compare_picks  # noqa: E402

COLUMNS = (
    "engine", "precision", "cube", "volume", "build", "start", "open", "statistics", "polarity", "inference", "nms",
    "write", "file to picks", "cold file", "read", "upload", "network", "of roofline", "picks", "pick F1", "shift",
    "host MB", "device MB",
)  # fmt: skip
PAPER_BATCH = {"cuda": 32, "cpu": 4}
"""The paper's number of cubes at a time on a GPU; a processor gains nothing from more than a few."""


def parse() -> argparse.Namespace:
    """Return the options of this run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--engine", action="append")
    parser.add_argument("--precision", action="append")
    parser.add_argument("--tile", action="append")
    parser.add_argument("--shape", action="append")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-yardsticks", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    return parser.parse_args()


def usable_engines() -> list[str]:
    """Return the engines that can be used here."""
    on_cpu = [name for name in ON_CPU if installed(name) or (name == "onnxruntime" and installed("onnxruntime-gpu"))]
    return [*on_cpu, *(name for name in GPU_ENGINES if obstacle_to(name) is None)]


def cases(options: argparse.Namespace, folder: Path) -> list[Case]:
    """Return every combination that was asked for and makes sense."""
    bundle = Bundle.open(options.model)
    found = []
    for text, engine in itertools.product(options.shape or ["200,512,512"], options.engine or usable_engines()):
        z, y, x = map(int, text.split(","))
        volume = folder / f"{z}x{y}x{x}.mrc"
        if not volume.exists():
            write_volume(volume, (z, y, x), bundle.card.voxel_size_angstrom)
        offered = [one for one in precisions_of(engine) if one in bundle.graphs]
        for precision, tile in itertools.product(
            [one for one in offered if one in (options.precision or offered)],
            [parse_tile(text) for text in options.tile or [None]],
        ):
            found.append(
                Case(
                    model=str(options.model), engine=engine, precision=precision, tile=tile,
                    volume=str(volume), batch=options.batch, threads=options.threads, repeats=options.repeats,
                )
            )  # fmt: skip
    return found


def in_a_process_of_its_own(case: Case) -> dict[str, Any]:
    """Return what a case measured, or why it could not."""
    command = [sys.executable, str(Path(__file__)), "-o", "-", "--case", json.dumps(asdict(case))]
    with tempfile.TemporaryDirectory() as cache:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"PICKER_CACHE_DIR": cache}
        )
    if ended.returncode:
        reason = [line for line in ended.stderr.splitlines() if line.strip()] or ["no reason given"]
        return {"failed": reason[-1]}
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def in_common(picks: list[list[float]], others: list[list[float]], radii: list[float]) -> dict[str, Any]:
    """Compare two lists of z, y, x, score, class."""
    both = compare_picks([(_detections(picks), _detections(others), np.array(radii))])
    return {"pick F1": both.pick_f1, "shift": both.median_shift_voxels}


def _detections(rows: list[list[float]]) -> Detections:
    values = np.array(rows).reshape(-1, 5)
    return Detections(
        positions=values[:, :3], scores=values[:, 3], diameters=np.zeros(len(values)),
        class_ids=values[:, 4].astype(np.int32),
    )  # fmt: skip


def yardsticks(options: argparse.Namespace, measured: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the seconds of PyTorch on the same volumes, on the GPU where there is one; what fails is told."""
    import torch
    from benchmark.yardsticks import published_network, same_network

    from picker_training.model_card import load_network

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    for result in {row["case"]["volume"]: row for row in measured if "failed" not in row}.values():
        z, y, x = result["shape"]
        cube, cubes = tuple(result["cube"]), result["cubes"]
        kinds = [("fp16", False), ("fp16", True), ("fp32", False)] if device == "cuda" else [("fp32", False)]
        for precision, compiled in kinds:
            network = load_network(Bundle.open(options.model))
            try:
                row = same_network(
                    network, cube, cubes, precision=precision, compiled=compiled, device=device, repeats=options.repeats
                )
            except Exception as error:  # of compilers that want more than this machine has
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                print(f"PyTorch {precision}{' compiled' * compiled}: {reason}", flush=True)
                continue
            yield row | {"volume": [z, y, x]}
        paper = published_network((z, y, x), batch=PAPER_BATCH[device], device=device, repeats=options.repeats)
        yield paper | {"volume": [z, y, x]}


def table(measured: list[dict[str, Any]], rates: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return everything as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for result in measured:
        case = result["case"]
        if "failed" in result:
            lines.append(f"| {case['engine']} | {case['precision']} | " + f"failed: {result['failed']} |")
            continue
        stages = result["warm"] | result["apart"] | result["figures"]
        values = [case["engine"], case["precision"], _edges(result["cube"]), _edges(result["shape"])]
        values += [_number(stages.get(name)) for name in COLUMNS[4:]]
        lines.append("| " + " | ".join(values) + " |")
    lines += ["", "Rates: " + "; ".join(f"{k} {v:.4g}" for part in rates.values() for k, v in part.items()), ""]
    for row in rows:
        what = f"{row['yardstick']}, {row['precision']}, cubes of {_edges(row['cube'])}, {row['batch']} at a time"
        lines.append(f"- {what}: {row['seconds']:.3g} s for {_edges(row['volume'])}")
    return "\n".join(lines) + "\n"


def _edges(edges: list[int]) -> str:
    return "x".join(map(str, edges))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def write(folder: Path, measured: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Write what is known so far, as a table and as JSON."""
    rates = next((result["rates"] for result in measured if "rates" in result), {})
    cases = [{k: v for k, v in result.items() if k not in ("picks", "radii", "rates")} for result in measured]
    (folder / "stages.md").write_text(table(cases, rates, rows))
    report = {"cases": cases, "rates": rates, "yardsticks": rows}
    (folder / "stages.json").write_text(json.dumps(report, indent=2) + "\n")


def main() -> None:
    """Measure case by case, print and write."""
    options = parse()
    if options.case:
        print(json.dumps(run_case(Case(**json.loads(options.case)))))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for case in cases(options, Path(name)):
            result = {"case": asdict(case)} | in_a_process_of_its_own(case)
            first = next((r for r in measured if r["case"]["volume"] == case.volume and "picks" in r), result)
            if "picks" in result:
                result["figures"] |= in_common(result["picks"], first["picks"], result["radii"])
            measured.append(result)
            print(case.engine, case.precision, result.get("failed") or result["warm"], flush=True)
            write(options.output, measured, [])
    if not options.no_yardsticks:
        for row in yardsticks(options, measured):
            rows.append(row)
            write(options.output, measured, rows)
    print((options.output / "stages.md").read_text())


if __name__ == "__main__":
    main()
