"""Seconds of every stage from file to picks, by engine, precision, tile and volume, beside what the device could do.

    python tests/benchmark/stages.py -o DIR [--model shrec12] [--engine openvino ...] [--precision fp32 ...]
                                     [--tile 216,200,280 ...] [--shape 200,512,512 ...] [--batch 1] [--repeats 3]
                                     [--threads 2] [--timeout 3600] [--no-yardsticks]

Without `--engine` it takes every engine that can be used here, without `--precision` every one that the model has.
Each case runs in a process of its own, with an empty cache of engines: first from nothing (`build`), then opened again
(`start`), both without the tomogram's own seconds, then warm. Behind `file to picks`, which is warm, stand the same on
a file that is not in the page cache, and the work done one stage after another, nothing overlapping: reading, upload
and network. A case that fails, or takes longer than the timeout, says why. Picks are compared with those of the first
case of the same volume. Figures are the median of the repeats. Rates of the device (the best of several) and PyTorch's
seconds on the same volume are measured in the same run. Writes DIR/stages.json and DIR/stages.md; what the first holds
is not measured again, unless it failed.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training", "tests")]  # where nothing is installed

from benchmark.detect_tomogram import write_volume  # noqa: E402
from benchmark.stage_case import Case, run_case  # noqa: E402

from picker_runtime.atomic import write_text  # noqa: E402
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
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds of a case")
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
        volume = folder / f"{_edges(text.split(','))}.mrc"
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


def told(case: Case) -> dict[str, Any]:
    """Return a case as the report has it, wherever its volume lies."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(case) | {"volume": Path(case.volume).stem}))
    return plain


def in_a_process_of_its_own(case: Case, timeout: float) -> dict[str, Any]:
    """Return what a case measured on its volume, which is written where it is not there, or why it could not."""
    volume = Path(case.volume)
    if not volume.exists():
        z, y, x = map(int, volume.stem.split("x"))
        write_volume(volume, (z, y, x), Bundle.open(case.model).card.voxel_size_angstrom)
    command = [sys.executable, str(Path(__file__)), "-o", "-", "--case", json.dumps(asdict(case))]
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PICKER_CACHE_DIR": cache}
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment, timeout=timeout
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"took more than {timeout:g} s"}
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


def add(report: dict[str, Any], case: dict[str, Any], result: dict[str, Any]) -> None:
    """Put what a case measured into the report, in place of an earlier failure, its picks compared with the first's."""
    report["cases"] = [known for known in report["cases"] if known["case"] != case]
    if "failed" not in result:
        picks, radii = result["picks"], result.pop("radii")
        alike = (known for known in report["cases"] if known["case"]["volume"] == case["volume"] and "picks" in known)
        first = next(alike, result)
        result["figures"] |= in_common(picks, first["picks"], radii)
        if first is not result:
            del result["picks"]
        report["rates"] = {device: rates for device, rates in result.pop("rates").items() if rates} | report["rates"]
    report["cases"].append({"case": case} | result)


def yardsticks(options: argparse.Namespace, report: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield the seconds of PyTorch on each volume that has none, on the GPU where there is one; what fails is told."""
    import torch
    from benchmark.yardsticks import published_network, same_network

    from picker_training.model_card import load_network

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    known = [row["volume"] for row in report["yardsticks"]]
    for result in {row["case"]["volume"]: row for row in report["cases"] if "failed" not in row}.values():
        z, y, x = result["shape"]
        if [z, y, x] in known:
            continue
        rows = []
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
            rows.append(row)
        paper = published_network((z, y, x), batch=PAPER_BATCH[device], device=device, repeats=options.repeats)
        yield [row | {"volume": [z, y, x]} for row in (*rows, paper)]


def table(report: dict[str, Any]) -> str:
    """Return everything as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for result in report["cases"]:
        case = result["case"]
        if "failed" in result:
            lines.append(f"| {case['engine']} | {case['precision']} | " + f"failed: {result['failed']} |")
            continue
        stages = result["warm"] | result["apart"] | result["figures"]
        values = [case["engine"], case["precision"], _edges(result["cube"]), _edges(result["shape"])]
        values += [_number(stages.get(name)) for name in COLUMNS[4:]]
        lines.append("| " + " | ".join(values) + " |")
    rates = [f"{name} {rate:.4g}" for part in report["rates"].values() for name, rate in part.items()]
    lines += ["", f"Rates: {'; '.join(rates)}", ""]
    for row in report["yardsticks"]:
        what = f"{row['yardstick']}, {row['precision']}, cubes of {_edges(row['cube'])}, {row['batch']} at a time"
        lines.append(f"- {what}: {row['seconds']:.3g} s for {_edges(row['volume'])}")
    return "\n".join(lines) + "\n"


def _edges(edges: Sequence[object]) -> str:
    return "x".join(map(str, edges))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def read(folder: Path) -> dict[str, Any]:
    """Return what earlier calls measured."""
    file = folder / "stages.json"
    report: dict[str, Any] = {"cases": [], "rates": {}, "yardsticks": []}
    return json.loads(file.read_text()) if file.exists() else report


def write(folder: Path, report: dict[str, Any]) -> None:
    """Write what is known so far, as a table and as JSON."""
    write_text(folder / "stages.md", table(report))
    write_text(folder / "stages.json", json.dumps(report) + "\n")


def main() -> None:
    """Measure case by case, print and write."""
    options = parse()
    if options.case:
        print(json.dumps(run_case(Case(**json.loads(options.case)))))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    report = read(options.output)
    with tempfile.TemporaryDirectory() as name:
        for case in cases(options, Path(name)):
            row = told(case)
            if any(known["case"] == row and "failed" not in known for known in report["cases"]):
                continue
            result = in_a_process_of_its_own(case, options.timeout)
            add(report, row, result)
            print(case.engine, case.precision, result.get("failed") or result["warm"], flush=True)
            write(options.output, report)
    if not options.no_yardsticks:
        for rows in yardsticks(options, report):
            report["yardsticks"] += rows
            write(options.output, report)
    print(table(report))


if __name__ == "__main__":
    main()
