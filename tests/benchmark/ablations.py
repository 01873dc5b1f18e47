"""Ablations of the detector `point` under the protocol `small`: one change at a time, the same scenes and minutes.

    python tests/benchmark/ablations.py --templates DIR -o DIR [--data DIR] [--only NAME ...] [--minutes 15 | --steps N]
                                        [--threads N] [--at-once N]
    python tests/benchmark/ablations.py --list

Each trains on the three tomograms of the protocol, each sample at an SNR of its own, in a folder of its own, with the
benchmark's own training, thresholds and scores; its line is appended to `ablations.jsonl`. What is there already is not
run again; an ablation that was stopped goes on. At the end the table of all that are done is printed, and written to
`ablations.md`. Those marked * do not train: they read the baseline's weights in another way. `--at-once 2 --threads 1`
runs two at a time, which on two cores gets more done than one after the other.
"""

import argparse
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from picker_runtime.atomic import write_text
from picker_training.benchmarking.entries import base_config
from picker_training.benchmarking.learned import CONFIG, SPENT, LearnedMethod, with_steps
from picker_training.benchmarking.method import Work
from picker_training.benchmarking.protocol import Protocol, find_protocol
from picker_training.benchmarking.running import RESULT, Result, run_entry
from picker_training.benchmarking.scenes import BenchmarkScenes, prepare_scenes
from picker_training.checkpoint import load_checkpoint, save_checkpoint
from picker_training.config import TrainingConfig, dump_config
from picker_training.device import choose_device
from picker_training.evaluation.rules import Rule

BASELINE = "baseline"
RESULTS, TABLE = "ablations.jsonl", "ablations.md"
FIGURES = ("loc. F1", "class F1", "error")
SNRS = (0.1, 0.05, 0.03)
MINUTES = 15.0
UNLIMITED = 1e6
"""Minutes of a run whose steps are counted."""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A change of the configuration, by section and key.

    reads: what of the baseline's checkpoint is read instead of training: `average` or `weights`; empty: it trains.
    seeds_on: how many seeds after the baseline's it has its own; what that alone changes is noise.
    """

    name: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    reads: str = ""
    seeds_on: int = 0

    def applied(self, config: TrainingConfig) -> TrainingConfig:
        """Return the configuration with the change."""
        sections = {name: replace(getattr(config, name), **keys) for name, keys in self.changes.items()}
        return replace(config, **sections)

    def describe(self) -> str:
        """Return the change as one writes it in a configuration."""
        if self.reads == "weights":
            return "optimiser.average = 0 *"
        if self.seeds_on:
            return f"seed + {self.seeds_on}"
        keys = ", ".join(f"{s}.{k} = {json.dumps(v)}" for s, keys in self.changes.items() for k, v in keys.items())
        return keys + " *" if self.reads else keys


def _warped(**bounds: float) -> dict[str, dict[str, Any]]:
    return {"data": {"warp_probability": 0.5, **bounds}}


ABLATIONS = (
    Ablation(name=BASELINE),
    Ablation(name="another-seed", seeds_on=1),
    Ablation(name="assignment-own-cell", changes={"point": {"assignment": "own_cell"}}),
    Ablation(name="assignment-aligned", changes={"point": {"assignment": "aligned", "objectness_loss": "varifocal"}}),
    Ablation(name="loss-varifocal", changes={"point": {"objectness_loss": "varifocal"}}),
    Ablation(name="class-weight-1", changes={"point": {"class_weight": 1.0}}),
    Ablation(name="class-weight-4", changes={"point": {"class_weight": 4.0}}),
    Ablation(name="label-smoothing", changes={"point": {"label_smoothing": 0.1}}),
    Ablation(name="class-window-3", changes={"point": {"class_window": 3}}, reads="average"),
    Ablation(name="objectness-of-classes", changes={"point": {"objectness": "classes"}}),
    Ablation(name="deep-supervision", changes={"point": {"deep_supervision": 0.3}}),
    Ablation(name="spheres", changes={"point": {"sphere_weight": 0.5}}),
    Ablation(name="mixed-samples", changes={"data": {"mix_probability": 0.3}}),
    Ablation(name="small-tilts", changes=_warped(tilt_degree=7.0)),
    Ablation(name="any-turn-about-z", changes=_warped(spin_degree=180.0)),
    Ablation(name="scale-5-percent", changes=_warped(scale=0.05)),
    Ablation(name="no-mirror-images", changes={"data": {"mirror": False}}),
    Ablation(name="no-quarter-turns", changes={"data": {"turn_probability": 0.0}}),
    Ablation(name="erased-boxes", changes={"data": {"erase_probability": 0.3}}),
    Ablation(name="halo-8", changes={"data": {"halo": 8}}),
    Ablation(name="balanced-crops", changes={"data": {"balanced_probability": 0.5}}),
    Ablation(name="snr-to-0.2", changes={"data": {"snr": (0.02, 0.2)}}),
    Ablation(name="snr-to-2", changes={"data": {"snr": (0.02, 2.0)}}),
    Ablation(name="adamw", changes={"optimiser": {"kind": "adamw"}}),
    Ablation(name="adamw-batch-4", changes={"optimiser": {"kind": "adamw", "batch": 4}}),
    Ablation(name="batch-4", changes={"optimiser": {"batch": 4}}),
    Ablation(name="rate-1e-3", changes={"optimiser": {"learning_rate": 1e-3}}),
    Ablation(name="rate-4e-3", changes={"optimiser": {"learning_rate": 4e-3}}),
    Ablation(name="crop-64-batch-4", changes={"data": {"crop": 64}, "optimiser": {"batch": 4}}),
    Ablation(name="no-average", reads="weights"),
)


class BorrowedMethod(LearnedMethod):
    """The baseline's weights, read in another way."""

    def borrow(self, baseline: Path, reads: str) -> None:
        """Copy the baseline's checkpoint, its average replaced by the weights themselves if those are to be read."""
        folder = self.work.folder
        checkpoint = load_checkpoint(baseline)
        if checkpoint is None or not (baseline / RESULT).exists():
            raise SystemExit(f"{folder.name} reads the weights of {BASELINE}: run that first")
        folder.mkdir(parents=True, exist_ok=True)
        save_checkpoint(folder, replace(checkpoint, average=getattr(checkpoint, reads)))
        shutil.copy(baseline / SPENT, folder / SPENT)
        write_text(folder / CONFIG, dump_config(self._config))


def small_protocol() -> Protocol:
    """Return the protocol `small` at the difficulties of the table, timed on its own tomograms."""
    protocol = find_protocol("small")
    chosen = tuple(d for d in protocol.difficulties if d.snr in SNRS)
    return replace(protocol, difficulties=chosen, timing_shape=protocol.spec.shape)


def run_one(ablation: Ablation, scenes: BenchmarkScenes, options: argparse.Namespace, device: torch.device) -> Result:
    """Train, if it trains, and test one ablation."""
    minutes = UNLIMITED if options.steps else options.minutes
    work = Work(
        scenes=scenes, folder=options.output / ablation.name, device=device, minutes=minutes,
        seed=options.seed + ablation.seeds_on,
        report=lambda message: print(f"{ablation.name}: {message}", file=sys.stderr, flush=True),
    )  # fmt: skip
    config = ablation.applied(base_config(work))
    if options.crop:
        config = replace(config, data=replace(config.data, crop=options.crop))
    if ablation.reads:
        borrowed = BorrowedMethod(work, config)
        borrowed.borrow(options.output / BASELINE, ablation.reads)
        return run_entry(ablation.name, borrowed)
    if options.steps and not (work.folder / CONFIG).exists():
        work.folder.mkdir(parents=True, exist_ok=True)
        write_text(work.folder / CONFIG, dump_config(with_steps(config, options.steps)))
    return run_entry(ablation.name, LearnedMethod(work, config))


def line_of(ablation: Ablation, result: Result, options: argparse.Namespace) -> dict[str, Any]:
    """Return what is kept of an ablation: its change, its command, what was measured."""
    length = f"--steps {options.steps}" if options.steps else f"--minutes {options.minutes:g}"
    if options.threads:
        length += f" --threads {options.threads}"
    return {
        "name": ablation.name,
        "changes": ablation.describe(),
        "command": f"python tests/benchmark/ablations.py --templates TEMPLATES -o OUT --only {ablation.name} {length}",
        "seed": result.seed,
        "training": result.training,
        "scores": {d: {r: s[r] for r in (Rule.SHREC2020, Rule.DISTANCE)} for d, s in result.scores.items()},
        "cost": {"parameters": result.parameters, "mac_per_voxel": result.mac_per_voxel},
    }


def read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a results file by name."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line["name"]: line for line in map(json.loads, lines)}


def figures(line: dict[str, Any], difficulty: str) -> list[float]:
    """Return localisation F1, mean class F1 (rule shrec2020) and centre error in voxels (rule distance)."""
    official, near = line["scores"][difficulty][Rule.SHREC2020], line["scores"][difficulty][Rule.DISTANCE]
    error = near["centre_error_voxels"]
    return [official["f1"], official["mean_class_f1"] or 0.0, float("nan") if error is None else error]


def table(lines: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table: each ablation's figures at every SNR, and their mean's distance from the baseline's."""
    difficulties = list(next(iter(lines.values()))["scores"]) if lines else []
    at = ", ".join(difficulties)
    rows = [
        ["ablation", "change", "steps", f"loc. F1 at {at}", *FIGURES[1:], *(f"mean {f}" for f in FIGURES), "command"]
    ]
    for ablation in ABLATIONS:
        line, change = lines.get(ablation.name), ablation.describe()
        cells = [""] * (1 + 2 * len(FIGURES))
        if line is not None:
            cells = [str(line["training"]["steps"]), *_cells(line, lines.get(BASELINE), difficulties)]
        rows.append([ablation.name, f"`{change}`" if change else "", *cells, f"`--only {ablation.name}`"])
    text = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([text[0], "|" + " --- |" * len(rows[0]), *text[1:]]) + "\n"


def _cells(line: dict[str, Any], baseline: dict[str, Any] | None, difficulties: list[str]) -> list[str]:
    own = np.array([figures(line, d) for d in difficulties])
    each = [", ".join(f"{value:.3f}" for value in column) for column in own.T]
    if baseline is None or line is baseline:
        return [*each, *(f"{value:.3f}" for value in own.mean(axis=0))]
    distance = (own - [figures(baseline, d) for d in difficulties]).mean(axis=0)
    return [*each, *(f"{value:+.3f}" for value in distance)]


def unfinished(options: argparse.Namespace) -> list[Ablation]:
    """Return the ablations that are wanted and not done."""
    done = read_lines(options.output / RESULTS)
    return [a for a in ABLATIONS if (not options.only or a.name in options.only) and a.name not in done]


def run_here(
    wanted: list[Ablation], scenes: BenchmarkScenes, options: argparse.Namespace, device: torch.device
) -> None:
    """Run ablations one after the other; each adds its line."""
    for ablation in wanted:
        line = line_of(ablation, run_one(ablation, scenes, options, device), options)
        with (options.output / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def run_apart(wanted: list[Ablation], options: argparse.Namespace) -> None:
    """Run ablations several at a time, each in a process of its own; those that read the baseline's weights are last.

    Raises:
        SystemExit: if any failed; the others are done.
    """
    failed: list[str] = []
    for reads in (False, True):
        part = [a for a in wanted if bool(a.reads) == reads]
        with ThreadPoolExecutor(options.at_once) as pool:
            statuses = pool.map(lambda a: subprocess.run(command_of(a, options), stdout=subprocess.DEVNULL), part)
            failed += [a.name for a, status in zip(part, statuses, strict=True) if status.returncode]
    if failed:
        raise SystemExit(f"{', '.join(failed)}: not done, for the reasons above; call again to go on")


def command_of(ablation: Ablation, options: argparse.Namespace) -> list[str]:
    """Return the command that runs one ablation with the same options."""
    given = {key: value for key, value in vars(options).items() if value is not None}
    for key in ("only", "at_once", "list"):
        given.pop(key, None)
    words = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    return [sys.executable, str(Path(__file__)), *words, "--only", ablation.name]


def main() -> None:
    """Run what is missing and print the table."""
    options = read_options()
    if options.list:
        print("\n".join(f"{a.name:24}{a.describe()}" for a in ABLATIONS))
        return
    device = choose_device(options.device, options.threads)
    scenes = prepare_scenes(
        small_protocol(), options.data or options.output / "scenes", options.templates, device,
        lambda message: print(message, file=sys.stderr, flush=True),
    )  # fmt: skip
    wanted = unfinished(options)
    if options.at_once > 1:
        run_apart(wanted, options)
    else:
        run_here(wanted, scenes, options, device)
    text = table(read_lines(options.output / RESULTS))
    write_text(options.output / TABLE, text)
    print(text, end="")


def read_options(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument(
        "--data", type=Path, help="scenes of the benchmark, if they lie elsewhere than in OUTPUT/scenes"
    )
    parser.add_argument("--only", action="append", choices=[a.name for a in ABLATIONS], metavar="NAME")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--steps", type=int, help="so many steps, however long they take, in place of minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--crop", type=int, help="a rehearsal's smaller crops")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of each run")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="so many runs at a time")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args(words)
    if not options.list and (options.templates is None or options.output is None):
        parser.error("--templates and -o are needed")
    return options


if __name__ == "__main__":
    main()
