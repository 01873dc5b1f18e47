"""The command line `picker-export`: the only place of the export package that prints and exits."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from picker_runtime import console
from picker_runtime.errors import EngineError
from picker_training.choice import Choice

app = typer.Typer(help="Turn a training run into a model bundle, and check it.", add_completion=False)


@app.callback(invoke_without_command=True)
def picker_export(context: typer.Context) -> None:
    """Turn a training run into a model bundle, and check it."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def onnx(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training run.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The bundle's folder.")],
    templates: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The templates that the run was trained on, if it was on scenes.")
    ] = None,
    version: Annotated[str, typer.Option(help="Version to print on the card.")] = "1",
    licence: Annotated[
        str | None, typer.Option(help="Of the weights; default: that of the model begun with, or Apache-2.0.")
    ] = None,
    checkpoint: Annotated[
        Choice | None, typer.Option(help="The weights that validated best, or the last; default: best if there is one.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="fp32|fp16|int8",
            help="Of the graphs; repeatable. Default: all that pick as well as fp32, which is always there.",
        ),
    ] = None,
    beta: Annotated[
        float, typer.Option(help="How much more recall counts than precision in the thresholds: 1 for F1.")
    ] = 1.0,
    large: Annotated[bool, typer.Option("--large", help="Let files be larger than 8 MB: `paper` is.")] = False,
) -> int:
    """Write a complete bundle: graph, weights, card with measured thresholds and halo, self-test, parity report."""
    from picker_export.bundling import ExportOptions, export_run
    from picker_export.judging import Judgement

    precisions = {"precisions": tuple(precision)} if precision else {}
    options = ExportOptions(
        version=version, licence=licence, checkpoint=checkpoint, beta=beta, large=large, **precisions
    )  # fmt: skip
    reports = export_run(run, templates, output, options, lambda line: print(line, file=sys.stderr))
    for report in reports:
        print(json.dumps(report.to_json()))
    missed = [one for one in reports if not one.passed and (precision or not isinstance(one, Judgement))]
    return EngineError.exit_status if missed else 0  # a precision that nobody asked for may be left out


@app.command()
def parity(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a bundle's folder.")] = "shrec12",
    tomogram: Annotated[Path | None, typer.Option(metavar="MRC", help="Default: the packaged sample.")] = None,
) -> int:
    """Compare a bundle's graph on every CPU engine with its weights in PyTorch, on tensors and on picks."""
    from picker_export.parity import report_parity, scene_from_file
    from picker_runtime.bundle import Bundle

    reports = report_parity(Bundle.open(model), [scene_from_file(tomogram)])
    for report in reports:
        print(json.dumps(report.to_json()))
    return 0 if all(report.passed for report in reports) else EngineError.exit_status


@app.command()
def metrics(
    model: Annotated[str, typer.Argument(help="A bundle's folder.")],
    figures: Annotated[list[Path], typer.Argument(metavar="JSON...", help="Files with measured figures.")],
) -> None:
    """Put figures that were measured with a bundle on its card, in place of those it has."""
    from picker_export.bundling import put_metrics

    put_metrics(Path(model), figures)


@app.command()
def engine(
    model: Annotated[str, typer.Argument(help="Name of a bundled model, or a bundle's folder.")] = "shrec12",
    library: Annotated[str, typer.Option(metavar="tensorrt|rtx", help="rtx builds without a GPU too.")] = "rtx",
    precision: Annotated[str, typer.Option(metavar="fp32|fp16", help="Of the convolutions.")] = "fp16",
    tile: Annotated[
        tuple[int, int, int] | None, typer.Option(metavar="D H W", help="Of detection: longest edges of a cube.")
    ] = None,
    tomogram: Annotated[
        tuple[int, int, int], typer.Option(metavar="Z Y X", help="Voxels of the tomograms to come.")
    ] = (200, 512, 512),
    batch: Annotated[int | None, typer.Option(min=1, help="Of detection: cubes per call of the engine.")] = None,
    compatible: Annotated[
        bool, typer.Option("--compatible", help="TensorRT: for later versions and other GPUs too, slower.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: the cache of engines.")
    ] = None,
) -> None:
    """Build a TensorRT or TensorRT-RTX engine ahead of its first use, and show its facts as JSON."""
    from picker_export.engine_files import EngineOrder, write_engine

    def say(line: str) -> None:
        if line:
            print(line, file=sys.stderr)

    order = EngineOrder(
        library=library, precision=precision, tile=tile, tomogram=tomogram, batch=batch, compatible=compatible
    )
    print(json.dumps(write_engine(model, order, output, say)))


def main() -> NoReturn:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-export")
