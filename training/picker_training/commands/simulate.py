"""The commands `simulate` and `fidelity`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    preset: Annotated[
        str, typer.Option(help="shrec2020, shrec2020-white, shrec2021, bench12, bench12-contaminated or sample.")
    ],
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where `model_N/` folders go.")],
    seed: Annotated[list[int] | None, typer.Option(help="Scene to make; repeatable. Default: the preset's.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many scenes from each seed on, one seed apart.")] = None,
    snr: Annotated[
        list[float] | None, typer.Option(min=1e-6, help="SNR to render; repeatable. Default: the preset's.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="shrec20..: project particles' boxes, no multislice.")] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Simulate tomograms with their truth, in the SHREC folder layout."""
    from picker_training.simulation import write_scenes

    folders = write_scenes(
        preset, templates, output,
        seeds=seed, count=count, snrs=snr, device=device, fast=fast, report=_print_step,
    )  # fmt: skip
    for folder in folders:
        print(folder)


def _print_step(message: str) -> None:
    print(message, file=sys.stderr)


def fidelity(
    folders: Annotated[list[Path], typer.Argument(metavar="MODEL_DIR...", help="Tomograms with truth, SHREC layout.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the table and plots go.")],
) -> None:
    """Measure tomograms beside what is published of the real data sets."""
    from picker_training.fidelity_report import write_report

    print(write_report(folders, output).read_text(), end="")
