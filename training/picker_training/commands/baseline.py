"""The command `baseline`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE


class Method(StrEnum):
    """The baselines that `baseline` knows."""

    TEMPLATE_MATCHING = "template-matching"
    LOG = "log"
    DOG = "dog"


def baseline(
    method: Annotated[Method, typer.Argument(help="How to find particles without any training.")],
    tomogram: Annotated[Path, typer.Argument(metavar="TOMOGRAM", help="An MRC file; particles are dark.")],
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.csv", help="The picks.")],
    calibration: Annotated[
        Path | None, typer.Option(metavar="MODEL_DIR", help="Choose thresholds on this tomogram with truth.")
    ] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Lowest score, without --calibration.")] = 0.4,
    classes: Annotated[list[str] | None, typer.Option("--class", help="A class to pick; repeatable.")] = None,
    rotations: Annotated[int, typer.Option(min=1, help="Orientations of each template.")] = 3000,
    tilt_range: Annotated[tuple[float, float], typer.Option(help="First and last tilt, in degrees.")] = (-60.0, 60.0),
    tilts: Annotated[int, typer.Option(min=2, help="Number of tilts.")] = 40,
    defocus: Annotated[float, typer.Option(min=0, help="Underfocus, in micrometres.")] = 3.0,
    voxel_size: Annotated[
        float | None, typer.Option(min=MIN_VOXEL_SIZE, max=MAX_VOXEL_SIZE, help="In angstrom, in place of the file's.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Pick by template matching or by blobs; the same call goes on where template matching was stopped."""
    from picker_training.baselines import picking

    prepared = picking.prepare(
        method, templates, classes,
        rotations=rotations, tilt_range=tilt_range, tilts=tilts, defocus_um=defocus, device=device,
        progress=_print_blocks,
    )  # fmt: skip
    found = picking.pick_file(
        tomogram, output, prepared, calibration=calibration, threshold=threshold, voxel_size=voxel_size
    )
    for name, (chosen, count) in found.items():
        print(f"{name:>10}  threshold {chosen:.3f}  picks {count}")


def _print_blocks(name: str, done: int, total: int) -> None:
    print(f"{name}: block {done} of {total}", file=sys.stderr)
