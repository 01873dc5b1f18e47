"""Job: train the default model on one GPU, offline, in runs of any length.

    python training/jobs/train_default_model.py --templates DIR --run RUN [--minutes 9] [--parts DIR] [--scenes 1600]

Needs PyTorch with CUDA, numpy, scipy and typer; nothing of picker has to be installed. Run it again to go on: the run's
folder holds the scenes (24 MB each) and the checkpoint. Minutes count from the start of the program. Where only small
files can be kept between calls, `--parts DIR` leaves the checkpoint there in pieces of 15 MB, at every validation and
at the end, also when it is told to end, and takes it from there at the start; with `--scenes 320` fewer are simulated
anew in each call. The last line says whether the last step is done; then `picker-export onnx RUN --templates DIR -o
BUNDLE` makes the model.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STARTED = time.monotonic()
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training")]

PIECE = 15_000_000
WEIGHTS = ("checkpoint.pt", "best.pt")
SMALL = ("config.toml", "classes.json", "log.csv", "validation.csv")


def take_parts(parts: Path, run: Path) -> None:
    """Put the pieces of an earlier call together as the run's weights and settings, unless the run has its own."""
    if (run / WEIGHTS[0]).exists():
        return
    for name in WEIGHTS:
        pieces = sorted(parts.glob(f"{name}.part*"))
        if pieces:
            (run / name).write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    for name in SMALL:
        if (parts / name).exists():
            shutil.copy(parts / name, run / name)


def leave_parts(parts: Path, run: Path) -> None:
    """Leave the run's weights in pieces, and its small files; what was left before stays until all that is written."""
    new = parts / ".new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    for name in WEIGHTS:
        data = (run / name).read_bytes() if (run / name).exists() else b""
        for i in range(0, len(data), PIECE):
            (new / f"{name}.part{i // PIECE:02d}").write_bytes(data[i : i + PIECE])
    for name in SMALL:
        if (run / name).exists():
            shutil.copy(run / name, new / name)
    for old in parts.glob("*.part*"):
        if not (new / old.name).exists():
            old.unlink()
    for path in new.iterdir():
        path.replace(parts / path.name)
    new.rmdir()


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--parts", type=Path)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--scenes", type=int, default=1600)
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def train(options: argparse.Namespace, validated: Callable[[Any], None]) -> bool:
    """Train for the minutes that are left; tell whether the last step is done."""
    from picker_training.config import TrainingConfig
    from picker_training.device import choose_device
    from picker_training.run import fit

    defaults = TrainingConfig()
    config = dataclasses.replace(
        defaults,
        workers=max(1, len(os.sched_getaffinity(0)) - 1),
        data=dataclasses.replace(defaults.data, scenes=options.scenes),
        optimiser=dataclasses.replace(defaults.optimiser, steps=options.steps, batch=16, warmup=500, average=0.999),
    )
    return fit(
        options.run,
        config,
        options.templates,
        choose_device(options.device),
        seconds=options.minutes * 60 - (time.monotonic() - STARTED),
        report=lambda p: print(f"step {p.step} loss {p.total:.3f} {p.seconds:.0f} s", flush=p.step % 100 == 0),
        report_score=validated,
    )


def main() -> None:
    """Train until the steps or the minutes are over."""
    options = parse()
    options.run.mkdir(parents=True, exist_ok=True)
    if options.parts:
        options.parts.mkdir(parents=True, exist_ok=True)
        take_parts(options.parts, options.run)

    def leave() -> None:
        if options.parts:
            leave_parts(options.parts, options.run)

    def validated(score: Any) -> None:
        print(json.dumps(dataclasses.asdict(score)), flush=True)
        leave()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what comes after the run is done
    try:
        done = train(options, validated)
    finally:
        leave()
    print(json.dumps({"done": done, "seconds": round(time.monotonic() - STARTED, 1)}))


if __name__ == "__main__":
    main()
