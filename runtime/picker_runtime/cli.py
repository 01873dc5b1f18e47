"""The command line `picker-runtime`: options in, results on stdout, the rest on stderr."""

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime import console
from picker_runtime.errors import PickerError, one_line
from picker_runtime.progress import progress_bar
from picker_runtime.settings import (
    ByteSign,
    DetectSettings,
    PicksSettings,
    RelionCentre,
    Thresholds,
    parse_classes,
    parse_tile,
)

if TYPE_CHECKING:
    from picker_runtime.batch import BatchResult
    from picker_runtime.detector import Detection
    from picker_runtime.worker import Progress

app = typer.Typer(help="Find particles in cryo-electron tomograms.", add_completion=False)

Inputs = Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="Tomograms: .mrc, .rec or .map files.")]
ThresholdOption = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold", metavar="T|CLASS=T", help="Lowest score of a pick, for all classes or one; repeatable."
    ),
]
ClassesOption = Annotated[str | None, typer.Option(metavar="A,B", help="Only these classes.")]
FormatOption = Annotated[
    list[str] | None, typer.Option("--format", metavar="NAME", help="A further format beside the CSV; repeatable.")
]
CentreOption = Annotated[RelionCentre, typer.Option(help="Centre of RELION 5 coordinates: size/2, or size/2 - 1.")]
Mode0Option = Annotated[ByteSign | None, typer.Option(help="How to read 8-bit voxels.")]
VoxelSizeOption = Annotated[float | None, typer.Option(metavar="ANGSTROM", help="Instead of the header's.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per tomogram on stdout, no tables.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No tables, no progress, no warnings; only errors.")]


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What a command shows while it runs: results on stdout, the rest on stderr."""

    as_json: bool
    quiet: bool

    def progress(self, label: str) -> "AbstractContextManager[Progress]":
        """Give a progress bar, where there is a terminal for it."""
        return progress_bar(sys.stderr, label, shown=not self.quiet)

    def finished(self, path: Path, detection: "Detection", files: list[Path], seconds: float) -> None:
        """Show what was found in one tomogram."""
        from picker_runtime.summary import picks_table, written_line

        if not self.quiet:
            for warning in detection.record.warnings:
                console.complain(f"warning: {path.name}: {warning}")
        if self.as_json:
            folder = str(files[0].parent)
            line = {"input": str(path), "output": folder, "seconds": round(seconds, 3)} | asdict(detection.record)
            print(json.dumps(line), flush=True)
        elif not self.quiet:
            print(picks_table(detection.record, detection.picks))
            print(written_line(seconds, files), flush=True)

    def refused(self, path: Path, error: Exception) -> None:
        """Show why one tomogram was not done."""
        console.report(error, subject=path.name)
        if self.as_json and isinstance(error, PickerError):
            facts = {"code": f"E{error.code}", "problem": error.problem, "fix": error.fix}
            print(json.dumps({"input": str(path), "error": facts}), flush=True)

    def ended(self, result: "BatchResult") -> int:
        """Show how a batch of several ended; return its exit status."""
        from picker_runtime.summary import batch_line

        if result.exit_status and result.total > 1:
            console.complain(batch_line(result))
        return result.exit_status


@app.callback(invoke_without_command=True)
def picker_runtime(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> int:
    """Find particles in cryo-electron tomograms."""
    if version:
        from importlib.metadata import version as installed

        print(f"picker-cryoet {installed('picker-cryoet')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
    return 0


@app.command()
def detect(
    inputs: Inputs = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", envvar="PICKER_OUTPUT", help="Folder for the picks.")
    ] = Path("picks"),
    model: Annotated[str, typer.Option(envvar="PICKER_MODEL", help="A bundled model's name, or a folder.")] = "shrec12",
    engine: Annotated[str, typer.Option(envvar="PICKER_ENGINE", metavar="auto|openvino|onnxruntime")] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, envvar="PICKER_THREADS", help="Default: the cores allowed.")
    ] = None,
    tile: Annotated[
        str | None, typer.Option(envvar="PICKER_TILE", metavar="N|Z,Y,X", help="Largest cube, in voxels.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, envvar="PICKER_BATCH", help="Cubes per call of the engine.")] = 1,
    voxel_size: VoxelSizeOption = None,
    mode0: Mode0Option = None,
    invert: Annotated[bool, typer.Option("--invert", help="The particles are of the other contrast.")] = False,
    threshold: ThresholdOption = None,
    classes: ClassesOption = None,
    mask: Annotated[
        Path | None, typer.Option(help="MRC of the tomogram's shape; picks only where it is not 0.")
    ] = None,
    formats: FormatOption = None,
    relion_centre: CentreOption = "core",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show the settings as JSON and end.")] = False,
) -> int:
    """Find the particles of tomograms and write them as CSV and in other formats."""
    settings = DetectSettings(
        inputs=tuple(inputs or ()), output=output, model=model, engine=engine, threads=threads, batch=batch,
        tile=parse_tile(tile), voxel_size=voxel_size, mode0=mode0, invert=invert,
        thresholds=Thresholds.parse(threshold or ()), classes=parse_classes(classes), mask=mask,
        formats=tuple(formats or ()), relion_centre=relion_centre,
    )  # fmt: skip
    if print_config:
        print(json.dumps(settings.as_config(), indent=2))
        return 0
    from picker_runtime.jobs import detect_all

    screen = Screen(as_json=as_json, quiet=quiet)
    return screen.ended(detect_all(settings, screen))


@app.command()
def picks(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Folders of `detect`, or files in them.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: where the candidates are.")] = None,
    threshold: ThresholdOption = None,
    classes: ClassesOption = None,
    formats: FormatOption = None,
    relion_centre: CentreOption = "core",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Make picks again from kept candidates: other thresholds, other formats, no tomogram needed."""
    from picker_runtime.jobs import pick_all

    settings = PicksSettings(
        inputs=tuple(inputs or ()), output=output, thresholds=Thresholds.parse(threshold or ()),
        classes=parse_classes(classes), formats=tuple(formats or ()), relion_centre=relion_centre,
    )  # fmt: skip
    screen = Screen(as_json=as_json, quiet=quiet)
    return screen.ended(pick_all(settings, screen))


@app.command()
def info(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tomograms, `<stem>.json` records or models.")],
    voxel_size: VoxelSizeOption = None,
    mode0: Mode0Option = None,
) -> int:
    """Show what a file holds: header, voxel size, statistics and contrast; or picks; or a model."""
    from picker_runtime.batch import run_batch
    from picker_runtime.inspection import describe

    def work(path: Path) -> None:
        print(describe(path, voxel_size=voxel_size, mode0=mode0))

    screen = Screen(as_json=False, quiet=False)
    return screen.ended(run_batch(files, work, screen.refused))


@app.command()
def sample(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the copy.")] = Path("sample"),
) -> int:
    """Copy out the sample tomogram, simulated, with its truth."""
    from picker_runtime.sample import copy_sample

    for file in copy_sample(output):
        print(one_line(str(file)))
    return 0


@app.command()
def doctor(
    gemm: Annotated[bool, typer.Option("--gemm", help="Also measure the speed of matrix products.")] = False,
) -> int:
    """Check this installation: versions, engines, bundled models, folders."""
    from picker_runtime.doctor import examine

    statuses = []
    for finding in examine(gemm=gemm):
        print(f"{finding.mark:4}  {one_line(finding.text)}", flush=True)
        statuses.append(finding.exit_status)
    return min((status for status in statuses if status), default=0)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-runtime")
