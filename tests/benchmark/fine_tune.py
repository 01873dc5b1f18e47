"""Fine-tuning to a class the model has never seen, from one annotated tomogram: how well it is then found in another.

    python tests/benchmark/fine_tune.py --templates DIR -o DIR [--minutes 25] [--steps N] [--seed 1] [--snr 0.1]
                                        [--from shrec12] [--threads N] [--json FILE]

Simulates two 128x256x256 tomograms with the optics and crowding of `bench12`: about 200 particles of 6z6u among as many
of the twelve SHREC 2020 classes. Only 6z6u is listed, in a CSV; every other particle is unlabelled. Then, each by its
command line: `picker-training lint` and `fit --from`, `picker-export onnx`, `picker-runtime detect` on the second
tomogram. Prints one JSON object: precision, recall and F1 of 6z6u by the rule `distance`, seconds by stage, and steps.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.formats import FormatContext, find_writer, read_named_picks
from picker_runtime.mrc import write_mrc
from picker_training.datasets.truth import Truth
from picker_training.evaluation import distance
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.templates import Template, load_templates

NEW_CLASS = "6z6u"
SHAPE = (128, 256, 256)
SHARES_OF_NEW_CLASS = 11
"""Of 23 equal shares of the particles; each of the twelve known classes has one. 416 particles make 199 of 6z6u."""

SEEDS = {"train": 9100, "test": 9200}
"""First seeds of the two tomograms; `--seed` is added."""


def make_tomogram(path: Path, templates: list[Template], seed: int, snr: float) -> NDArray[np.float64]:
    """Write a simulated tomogram; return where the new class is, `(n, 3) zyx, voxels`."""
    bench = PRESETS["bench12"].spec
    particles = round(bench.particles * np.prod(SHAPE) / np.prod(bench.shape))
    known, new = templates[:-1], templates[-1]
    spec = SceneSpec(shape=SHAPE, particles=particles, voxel_size=bench.voxel_size, microscope=bench.microscope)
    scene = simulate(spec, [*known, *[new] * SHARES_OF_NEW_CLASS], seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mrc(path, scene.tomogram(snr), bench.voxel_size)
    return scene.placements.positions[scene.placements.class_ids >= len(known)]


def write_picks(folder: Path, positions: NDArray[np.float64], diameter: float) -> Path:
    """Write the picks of the new class as our CSV."""
    n = len(positions)
    context = FormatContext(
        tomogram="train", shape=SHAPE, voxel_size=PRESETS["bench12"].spec.voxel_size, class_names=(NEW_CLASS,)
    )
    picks = Detections(
        positions=positions, diameters=np.full(n, diameter), scores=np.ones(n), class_ids=np.zeros(n, np.int32)
    )
    (path,) = find_writer("csv")(folder, "train", picks, context)
    return path


def run(*command: object) -> float:
    """Run one of our command lines; return its seconds."""
    program, *arguments = (str(part) for part in command)
    started = time.perf_counter()
    subprocess.run([str(Path(sys.executable).parent / program), *arguments], check=True, stdout=sys.stderr)
    return round(time.perf_counter() - started, 1)


def score(picks: Path, truth: NDArray[np.float64], bundle: Bundle) -> dict[str, Any]:
    """Return the figures of the new class by `distance`."""
    (particle,) = bundle.card.classes
    found = read_named_picks(picks)
    result = distance.score(
        np.array([pick.position for pick in found]).reshape(-1, 3),
        [pick.name for pick in found],
        np.array([pick.score for pick in found]),
        Truth(names=(NEW_CLASS,) * len(truth), positions=truth),
        {NEW_CLASS: particle.diameter_angstrom / bundle.card.voxel_size_angstrom},
    )
    return {
        "f1": result.f1, "precision": result.precision, "recall": result.recall, "centre_error": result.centre_error,
        "picks": len(found), "truths": len(truth), "threshold": particle.threshold, "halo": bundle.card.halo,
    }  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Go the whole way; return the figures."""
    folder: Path = options.output
    templates = load_templates(options.templates, (*SHREC2020_CLASSES, NEW_CLASS))
    truths = {
        name: make_tomogram(folder / name / f"{name}.mrc", templates, first + options.seed, options.snr)
        for name, first in SEEDS.items()
    }
    picks = write_picks(folder, truths["train"], templates[-1].diameter_angstrom)
    data = ["--tomograms", folder / "train", "--picks", picks]
    threads = ["--threads", options.threads] if options.threads else []
    steps = ["--steps", options.steps] if options.steps else []
    begin = ["--from", options.start, "--minutes", options.minutes, "--device", "cpu", *threads, *steps]
    seconds = {
        "lint": run("picker-training", "lint", *data, "--class", NEW_CLASS),
        "fit": run("picker-training", "fit", *data, "--class", NEW_CLASS, "-o", folder / "run", *begin),
        "export": run("picker-export", "onnx", folder / "run", "-o", folder / "model"),
        "detect": run(
            "picker-runtime", "detect", folder / "test/test.mrc", "--model", folder / "model", "-o", folder / "picks"
        ),
    }
    figures = score(folder / "picks/test.csv", truths["test"], Bundle.open(folder / "model"))
    with (folder / "run/validation.csv").open() as stream:
        validation = list(csv.DictReader(stream))
    settings = {"from": options.start, "seed": options.seed, "snr": options.snr, "labels": len(truths["train"])}
    done = int(Bundle.open(folder / "model").card.training["steps"])
    return {**settings, "steps": done, **figures, "seconds": seconds, "validation": validation}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25.0, help="of training, at most")
    parser.add_argument("--steps", type=int, help="of training; default: those of fine-tuning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--from", dest="start", default="shrec12")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    text = json.dumps(measure(options), indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
