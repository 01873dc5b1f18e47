"""The command line `picker-export`: the only place of the export package that prints and exits."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from picker_runtime import console
from picker_runtime.errors import EngineError

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
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "Apache-2.0",
) -> int:
    """Write a complete bundle: graph, weights, card with measured thresholds and halo, self-test, parity report."""
    from picker_export.bundling import ExportOptions, export_run

    options = ExportOptions(version=version, licence=licence)
    reports = export_run(run, templates, output, options, lambda line: print(line, file=sys.stderr))
    for report in reports:
        print(json.dumps(report.to_json()))
    return 0 if all(report.passed for report in reports) else EngineError.exit_status


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


def main() -> NoReturn:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-export")
