"""`picker-training fit` on tiny scenes, in this process or, as a script, in one of its own.

    python tiny_fit.py OPTION...

PICKER_SAMPLES names a file that gets a line a sample, its fingerprint (with `.1` and so on for further ranks).
PICKER_SIGNAL, as in "SIGKILL 35", is a signal that the process sends itself, or the rank before the comma in
"1,SIGKILL 35", when its sample of that number is made.
"""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.phantoms import CLASSES, SMALL

from picker_training import cli, loading, run, trainer, training_data
from picker_training.augmentation import Sample
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.datasets import scenes
from picker_training.detectors.options import PointOptions

CONFIG = TrainingConfig(
    workers=0,
    model=ModelSection(name="tiny", classes=CLASSES),
    point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
    data=DataSection(scenes=2, strangers=("3qm1",), crop=24, halo=4, snr=(1.0, 4.0)),
    optimiser=OptimiserSection(
        steps=20, batch=2, learning_rate=5e-3, warmup=1, average=0.8, checkpoint_every=4, validate_every=10
    ),
)


def shrink(put: Callable[[object, str, Any], None]) -> None:
    """Make scenes small and steps exact, and log every step; `put` sets an attribute, as a monkeypatch does."""
    put(trainer, "half_precision", lambda device: nullcontext())
    put(run, "REPORT_EVERY", 1)
    put(scenes, "training_spec", lambda rng, voxel_size: replace(SMALL, strangers=1))
    put(training_data, "VALIDATION_SHAPE", SMALL.shape)
    put(training_data, "VALIDATION_PARTICLES", 6)


def record_samples(path: Path, put: Callable[[object, str, Any], None], after: Callable[[int], None]) -> None:
    """Write a line for each sample that is made, then call `after` with its number, from 1."""
    make = loading.make_sample
    path.write_text("")

    def made(*arguments: Any) -> Sample:
        sample = make(*arguments)
        with path.open("a") as file:
            file.write(hashlib.sha256(sample.cube.tobytes() + sample.positions.tobytes()).hexdigest()[:16] + "\n")
        after(len(path.read_text().splitlines()))
        return sample

    put(loading, "make_sample", made)


def main() -> None:
    """Run the command line."""
    rank = os.environ.get("RANK", "0")
    told = os.environ.get("PICKER_SIGNAL", "").rpartition(",")
    name, number = (told[2] or "SIGKILL 0").split()

    def after(count: int) -> None:
        if count == int(number) and rank in (told[0], told[0] or rank):
            os.kill(os.getpid(), signal.Signals[name])

    shrink(setattr)
    if "PICKER_SAMPLES" in os.environ:
        suffix = "" if rank == "0" else f".{rank}"
        record_samples(Path(os.environ["PICKER_SAMPLES"] + suffix), setattr, after)
    sys.argv[1:1] = ["fit"]
    cli.main()


if __name__ == "__main__":
    main()
