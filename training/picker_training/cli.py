"""The command line `picker-training`: the only place of the training package that prints and exits."""

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime import console
from picker_runtime.errors import UsageError
from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE
from picker_training.evaluation.shrec import ZFrame

if TYPE_CHECKING:
    from picker_training.evaluation.distance import DistanceScore
    from picker_training.evaluation.shrec import ShrecScore
    from picker_training.run import Score
    from picker_training.trainer import Progress

app = typer.Typer(help="Simulate, train and evaluate.", add_completion=False)


class Rule(StrEnum):
    """The rules that `evaluate` knows."""

    SHREC2020 = "shrec2020"
    DISTANCE = "distance"


@app.callback(invoke_without_command=True)
def picker_training(context: typer.Context) -> None:
    """Simulate tomograms, train detectors and score picks."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def evaluate(
    rule: Annotated[Rule, typer.Option(help="How picks are matched with the truth.")],
    truth: Annotated[Path, typer.Option(metavar="MODEL_DIR", help="Truth in SHREC layout.")],
    picks: Annotated[Path, typer.Option(metavar="FILE", help="Our CSV, or SHREC text `class x y z`, best first.")],
    z_frame: Annotated[ZFrame, typer.Option(help="shrec2020: where z of the picks counts from.")] = ZFrame.SLAB,
    diameter: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=ANGSTROM", help="distance: a class's diameter; repeatable. Default: the model's."),
    ] = None,
    model: Annotated[str, typer.Option(help="distance: the model whose card gives the diameters.")] = "shrec12",
    voxel_size: Annotated[
        float | None,
        typer.Option(
            min=MIN_VOXEL_SIZE,
            max=MAX_VOXEL_SIZE,
            help="distance: of the truth, in angstrom. Default: as its occupancy mask says.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, no table.")] = False,
) -> None:
    """Score a picks file against a truth."""
    from picker_training.evaluation import scoring
    from picker_training.evaluation.report import table

    if rule is Rule.SHREC2020:
        score: ShrecScore | DistanceScore = scoring.score_shrec2020(picks, truth, z_frame)
    elif z_frame is ZFrame.SLAB:
        diameters = dict(_parse_diameter(option) for option in diameter or ())
        score = scoring.score_distance(picks, truth, diameters_angstrom=diameters, model=model, voxel_size=voxel_size)
    else:
        raise UsageError(80, f"--z-frame {z_frame}", "the rule `distance` knows no frames", "leave the option out")
    print(json.dumps({"rule": rule, **score.to_json()}) if as_json else table(score))


@app.command()
def simulate(
    preset: Annotated[str, typer.Option(help="A named set of scenes: bench12, bench12-contaminated or sample.")],
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where `model_N/` folders go.")],
    seed: Annotated[list[int] | None, typer.Option(help="Scene to make; repeatable. Default: the preset's.")] = None,
    snr: Annotated[list[float] | None, typer.Option(help="SNR to render; repeatable. Default: the preset's.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Simulate tomograms with their truth, in the SHREC folder layout."""
    from picker_training.simulation import write_scenes

    for folder in write_scenes(preset, templates, output, seeds=seed, snrs=snr, device=device):
        print(folder)


@app.command()
def fit(
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RUN", help="The run's folder; goes on if begun.")],
    config: Annotated[Path | None, typer.Option(metavar="TOML", help="Configuration; default: the run's own.")] = None,
    start_from: Annotated[
        str | None, typer.Option("--from", metavar="MODEL", help="Begin with a model's weights: a name or a folder.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Stop after so long; the same call goes on.")] = math.inf,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the network.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration and stop.")] = False,
) -> None:
    """Train a detector on simulated scenes; a run that was stopped or killed goes on from its last checkpoint."""
    from picker_training.config import dump_config, load_config
    from picker_training.device import choose_device

    stored = output / "config.toml"
    settings = load_config(config or (stored if stored.exists() else None))
    if print_config:
        print(dump_config(settings), end="")
        return
    target = choose_device(device, threads)
    from picker_runtime.bundle import Bundle
    from picker_training import run as training_run

    start = Bundle.open(start_from) if start_from else None

    done = training_run.fit(
        output, settings, templates, target,
        start=start, seconds=minutes * 60, report=_print_progress, report_score=_print_score,
    )  # fmt: skip
    if not done:
        print("not finished: the same call goes on", file=sys.stderr)


def _print_progress(progress: "Progress") -> None:
    print(
        f"step {progress.step}/{progress.steps}  loss {progress.total:.3f}  objectness {progress.objectness:.3f}  "
        f"class {progress.classes:.3f}  offset {progress.offset:.3f}  {progress.seconds:.0f} s",
        file=sys.stderr,
    )


def _print_score(score: "Score") -> None:
    print(
        f"step {score.step}: localisation F1 {score.f1:.3f}  class F1 {score.class_f1:.3f}  "
        f"centre error {score.centre_error:.2f} voxels",
        file=sys.stderr,
    )


def _parse_diameter(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        diameter = float(value)
    except ValueError:
        diameter = math.nan
    if not name or not 0 < diameter < math.inf:
        raise UsageError(80, f"--diameter {text}", "expected CLASS=ANGSTROM", "write for example --diameter 1bxn=130")
    return name, diameter


def run(arguments: list[str]) -> int:
    """Run one command line; return the exit status."""
    return console.run(app, "picker-training", arguments)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-training")
