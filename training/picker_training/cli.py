"""The command line `picker-training`: the only place of the training package that prints and exits."""

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime.errors import PickerError, UsageError
from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE
from picker_training.evaluation.shrec import ZFrame

if TYPE_CHECKING:
    from picker_training.evaluation.distance import DistanceScore
    from picker_training.evaluation.shrec import ShrecScore

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


def _parse_diameter(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        diameter = float(value)
    except ValueError:
        diameter = math.nan
    if not name or not 0 < diameter < math.inf:
        raise UsageError(80, f"--diameter {text}", "expected CLASS=ANGSTROM", "write for example --diameter 1bxn=130")
    return name, diameter


def main() -> None:
    """Run the command line and end the process with its exit status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; return the exit status."""
    try:
        return app(arguments, prog_name="picker-training", standalone_mode=False) or 0
    except PickerError as error:
        return _refuse(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # only the command line library's own complaints have it
            raise
        return _refuse(UsageError(80, "picker-training", error.format_message().rstrip("."), "see --help"))


def _refuse(error: PickerError) -> int:
    print(f"picker: {error}", file=sys.stderr)
    return error.exit_status
