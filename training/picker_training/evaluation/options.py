"""What each option of `picker-training evaluate` is called, takes and means."""

from pathlib import Path
from typing import Annotated

import typer

from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE
from picker_training.evaluation.hits import ZFrame
from picker_training.evaluation.rules import Rule

RuleName = Annotated[Rule, typer.Option("--rule", help="How picks are matched with the truth: see docs/evaluation.md.")]
Truths = Annotated[
    list[Path], typer.Option("--truth", metavar="MODEL_DIR", help="Truth in SHREC layout; czii: repeatable.")
]
PicksFiles = Annotated[
    list[Path],
    typer.Option(
        "--picks", metavar="FILE", help="Our CSV, or SHREC text `class x y z`, best first; one for each --truth."
    ),
]
Frame = Annotated[ZFrame, typer.Option("--z-frame", help="shrec2019, shrec2020: where z of the picks counts from.")]
Offset = Annotated[
    int,
    typer.Option(
        "--z-offset", min=0, help="But for shrec2019, shrec2020: slices of the picked tomogram below the truth's z = 0."
    ),
]
Padding = Annotated[int, typer.Option(min=0, help="shrec2019: voxels to take off every coordinate of the picks.")]
Mask = Annotated[
    str, typer.Option(metavar="NAME", help="SHREC rules and paper: volume of the truth that says whose a voxel is.")
]
Diameters = Annotated[
    list[str] | None,
    typer.Option(
        "--diameter", metavar="CLASS=ANGSTROM", help="distance: a class's diameter; repeatable. Default: the model's."
    ),
]
Model = Annotated[str, typer.Option(help="distance: the model whose card gives the diameters.")]
Radii = Annotated[
    list[str] | None,
    typer.Option("--radius", metavar="CLASS=ANGSTROM", help="czii: a class's radius, twice what is right; repeatable."),
]
Weights = Annotated[
    list[str] | None, typer.Option("--weight", metavar="CLASS=W", help="czii: a class's weight; repeatable.")
]
VoxelSize = Annotated[
    float | None,
    typer.Option(
        min=MIN_VOXEL_SIZE,
        max=MAX_VOXEL_SIZE,
        help="czii, distance: of the truth, in angstrom. Default: as its occupancy mask says.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, no table.")]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Also draw F1 of each class against its mass.")]
