"""The command line `picker-training`: the only place of the training package that prints and exits."""

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime import console
from picker_runtime.tomogram import MAX_VOXEL_SIZE, MIN_VOXEL_SIZE
from picker_training import fit_options
from picker_training.evaluation import options as evaluate_options
from picker_training.evaluation import rules
from picker_training.evaluation.hits import ZFrame

if TYPE_CHECKING:
    import torch

    from picker_training.run import Score
    from picker_training.trainer import Progress

app = typer.Typer(help="Simulate, train and evaluate.", add_completion=False)


class Method(StrEnum):
    """The baselines that `baseline` knows."""

    TEMPLATE_MATCHING = "template-matching"
    LOG = "log"
    DOG = "dog"


@app.callback(invoke_without_command=True)
def picker_training(context: typer.Context) -> None:
    """Simulate tomograms, train detectors and score picks."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def evaluate(
    rule: evaluate_options.RuleName,
    truth: evaluate_options.Truths,
    picks: evaluate_options.PicksFiles,
    z_frame: evaluate_options.Frame = ZFrame.SLAB,
    padding: evaluate_options.Padding = 0,
    mask: evaluate_options.Mask = rules.DEFAULT_MASK,
    diameter: evaluate_options.Diameters = None,
    model: evaluate_options.Model = rules.DEFAULT_MODEL,
    voxel_size: evaluate_options.VoxelSize = None,
    radius: evaluate_options.Radii = None,
    weight: evaluate_options.Weights = None,
    plot: evaluate_options.Plot = None,
    as_json: evaluate_options.AsJson = False,
) -> None:
    """Score a picks file against a truth."""
    from picker_runtime.atomic import write_text
    from picker_training.evaluation.plot import f1_against_mass
    from picker_training.evaluation.report import table
    from picker_training.evaluation.scoring import score_files

    options = rules.Options(
        z_frame=z_frame,
        padding=padding,
        mask=mask,
        diameters=rules.parse_by_class("--diameter", diameter),
        model=model,
        voxel_size=voxel_size,
        radii=rules.parse_by_class("--radius", radius),
        weights=rules.parse_by_class("--weight", weight, zero=True),
    )
    score = score_files(rule, truth, picks, options)
    if plot:
        write_text(plot, f1_against_mass(score.class_f1, title=f"class F1 against mass, rule {rule}"))
    print(json.dumps({"rule": rule, **score.to_json()}) if as_json else table(score))


@app.command()
def simulate(
    preset: Annotated[
        str, typer.Option(help="shrec2020, shrec2020-white, shrec2021, bench12, bench12-contaminated or sample.")
    ],
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where `model_N/` folders go.")],
    seed: Annotated[list[int] | None, typer.Option(help="Scene to make; repeatable. Default: the preset's.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="So many scenes from each seed on, one seed apart.")] = None,
    snr: Annotated[list[float] | None, typer.Option(help="SNR to render; repeatable. Default: the preset's.")] = None,
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


@app.command()
def fidelity(
    folders: Annotated[list[Path], typer.Argument(metavar="MODEL_DIR...", help="Tomograms with truth, SHREC layout.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the table and plots go.")],
) -> None:
    """Measure tomograms beside what is published of the real data sets."""
    from picker_training.fidelity_report import write_report

    print(write_report(folders, output).read_text(), end="")


@app.command()
def fit(
    output: fit_options.Output,
    templates: fit_options.Templates = None,
    shrec: fit_options.Shrec = None,
    year: fit_options.Year = 0,
    z_offset: fit_options.ZOffset = None,
    validation: fit_options.Validation = None,
    held_out: fit_options.HeldOut = None,
    rule: fit_options.RuleName = rules.Rule.SHREC2020,
    config: fit_options.Config = None,
    start_from: fit_options.From = None,
    steps: fit_options.Steps = None,
    minutes: fit_options.Minutes = math.inf,
    device: fit_options.Device = "auto",
    threads: fit_options.Threads = None,
    print_config: fit_options.PrintConfig = False,
) -> None:
    """Train a detector on simulated scenes or annotated tomograms; a run that was stopped goes on where it was."""
    from picker_training.config import dump_config
    from picker_training.device import choose_device

    settings = fit_options.resolve(
        output, config,
        shrec=shrec, year=year, z_offset=z_offset, validation=validation, held_out=held_out, steps=steps,
    )  # fmt: skip
    if print_config:
        print(dump_config(settings), end="")
        return
    target = choose_device(device, threads)
    from picker_training import run as training_run

    done = training_run.fit(
        output, settings, templates, target,
        start=start_from, seconds=minutes * 60, report=_print_progress, report_score=_print_score,
    )  # fmt: skip
    if done:
        _score_held_out(output, rule, target)
    else:
        print("not finished: the same call goes on", file=sys.stderr)


@app.command()
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


def _score_held_out(run: Path, rule: rules.Rule, device: "torch.device") -> None:
    from picker_training.config import load_config
    from picker_training.evaluation.report import table
    from picker_training.evaluation.scoring import score_files
    from picker_training.held_out import pick_held_out

    for truth, picks in pick_held_out(run, load_config(run / "config.toml"), device):
        print(f"{truth.name}: {picks}\n{table(score_files(rule, [truth], [picks], rules.Options()))}")


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


def run(arguments: list[str]) -> int:
    """Run one command line; return the exit status."""
    return console.run(app, "picker-training", arguments)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-training")
