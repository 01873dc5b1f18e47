"""Job: train the default model on one GPU, offline, in runs of any length.

    python training/jobs/train_default_model.py --templates DIR --run RUN [--minutes 9] [--parts DIR]

Needs PyTorch with CUDA, numpy, scipy and typer; nothing of picker has to be installed. Run it again to go on: the
run's folder holds the checkpoint. Where only small files can be kept between calls, `--parts DIR` leaves the checkpoint
there in pieces of 15 MB and takes it from there at the start. The last line says whether the last step is done; then
`picker-export onnx RUN --templates DIR -o BUNDLE` makes the model.
"""

import argparse
import dataclasses
import json
import shutil
import sys
import time
from pathlib import Path

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
    """Leave the run's weights in pieces, and its small files."""
    for old in parts.glob("*.part*"):
        old.unlink()
    for name in WEIGHTS:
        data = (run / name).read_bytes() if (run / name).exists() else b""
        for i in range(0, len(data), PIECE):
            (parts / f"{name}.part{i // PIECE:02d}").write_bytes(data[i : i + PIECE])
    for name in SMALL:
        if (run / name).exists():
            shutil.copy(run / name, parts / name)


def main() -> None:
    """Train until the steps or the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--parts", type=Path)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()

    from picker_training.config import TrainingConfig
    from picker_training.device import choose_device
    from picker_training.run import fit

    options.run.mkdir(parents=True, exist_ok=True)
    if options.parts:
        options.parts.mkdir(parents=True, exist_ok=True)
        take_parts(options.parts, options.run)
    defaults = TrainingConfig()
    config = dataclasses.replace(
        defaults,
        workers=8,
        data=dataclasses.replace(defaults.data, scenes=1600),
        optimiser=dataclasses.replace(defaults.optimiser, steps=options.steps, batch=16, warmup=500, average=0.999),
    )
    started = time.monotonic()
    done = fit(
        options.run,
        config,
        options.templates,
        choose_device(options.device),
        seconds=options.minutes * 60,
        report=lambda p: print(f"step {p.step} loss {p.total:.3f} {p.seconds:.0f} s", flush=p.step % 100 == 0),
        report_score=lambda s: print(json.dumps(dataclasses.asdict(s)), flush=True),
    )
    if options.parts:
        leave_parts(options.parts, options.run)
    print(json.dumps({"done": done, "seconds": round(time.monotonic() - started, 1)}))


if __name__ == "__main__":
    main()
