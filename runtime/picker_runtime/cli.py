"""The command line `picker-runtime`: options in, results on stdout, the rest on stderr."""

import json
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from picker_runtime import console, options
from picker_runtime.errors import PickerError, one_line
from picker_runtime.progress import progress_bar
from picker_runtime.settings import (
    DetectSettings,
    PicksSettings,
    Thresholds,
    parse_classes,
    parse_tile,
)

if TYPE_CHECKING:
    from picker_runtime.batch import BatchResult
    from picker_runtime.detector import Detection
    from picker_runtime.worker import Progress

app = typer.Typer(help="Find particles in cryo-electron tomograms.", add_completion=False)


@dataclass(frozen=True, kw_only=True)
class Screen:
    """What a command shows while it runs: results on stdout, the rest on stderr."""

    as_json: bool
    quiet: bool

    def note(self, text: str) -> None:
        """Show what a user should know before the work begins, or of what it waits for."""
        if not self.quiet:
            console.complain(f"note: {text}")

    def progress(self, label: str) -> "AbstractContextManager[Progress]":
        """Give a progress bar, where there is a terminal for it."""
        return progress_bar(sys.stderr, label, shown=not self.quiet)

    def finished(self, path: Path, detection: "Detection", folder: Path, seconds: float) -> None:
        """Show what was found in one tomogram."""
        from picker_runtime.summary import picks_table, written_line

        if not self.quiet:
            for warning in detection.record.warnings:
                console.complain(f"warning: {path.name}: {warning}")
        if self.as_json:
            facts = {"input": str(path), "output": str(folder), "seconds": round(seconds, 3)}
            console.show(json.dumps(facts | asdict(detection.record)))
        elif not self.quiet:
            console.show(picks_table(detection.record, detection.picks))
            console.show(written_line(seconds, folder, detection.record.outputs))

    def refused(self, path: Path, error: Exception) -> None:
        """Show why one tomogram was not done."""
        console.report(error, subject=path.name)
        if self.as_json and isinstance(error, PickerError):
            facts = {"code": f"E{error.code}", "problem": error.problem, "fix": error.fix}
            console.show(json.dumps({"input": str(path), "error": facts}))

    def ended(self, result: "BatchResult") -> int:
        """Show how a batch of several ended; return its exit status."""
        from picker_runtime.summary import batch_line

        if result.exit_status and result.total > 1:
            console.complain(batch_line(result))
        return result.exit_status


@app.callback(invoke_without_command=True)
def picker_runtime(context: typer.Context, version: options.Version = False) -> int:
    """Find particles in cryo-electron tomograms."""
    if version:
        from importlib.metadata import version as installed

        print(f"picker-cryoet {installed('picker-cryoet')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
    return 0


@app.command()
def detect(
    inputs: options.Inputs = None,
    output: options.Output = Path("picks"),
    model: options.Model = "shrec12",
    engine: options.Engine = "auto",
    precision: options.Precision = "auto",
    threads: options.Threads = None,
    tile: options.Tile = None,
    batch: options.Batch = None,
    voxel_size: options.VoxelSize = None,
    mode0: options.Mode0 = None,
    invert: options.Invert = False,
    threshold: options.ThresholdTexts = None,
    classes: options.Classes = None,
    mask: options.MaskFile = None,
    formats: options.Formats = None,
    relion_centre: options.Centre = "core",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    print_config: options.PrintConfig = False,
) -> int:
    """Find the particles of tomograms and write them as CSV and in other formats."""
    settings = DetectSettings(
        inputs=tuple(inputs or ()), output=output, model=model, engine=engine, precision=precision, threads=threads,
        batch=batch, tile=parse_tile(tile), voxel_size=voxel_size, mode0=mode0, invert=invert,
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
    inputs: options.Detected = None,
    output: options.PicksOutput = None,
    threshold: options.ThresholdTexts = None,
    classes: options.Classes = None,
    formats: options.Formats = None,
    relion_centre: options.Centre = "core",
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
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
def info(files: options.Files, voxel_size: options.VoxelSize = None, mode0: options.Mode0 = None) -> int:
    """Show what a file holds: header, voxel size, statistics and contrast; or picks; or a model."""
    from picker_runtime.batch import run_batch
    from picker_runtime.inspection import describe

    def work(path: Path) -> None:
        print(describe(path, voxel_size=voxel_size, mode0=mode0))

    screen = Screen(as_json=False, quiet=False)
    return screen.ended(run_batch(files, work, screen.refused))


@app.command()
def sample(output: options.SampleOutput = Path("sample")) -> int:
    """Copy out the sample tomogram, simulated, with its truth."""
    from picker_runtime.sample import copy_sample

    for file in copy_sample(output):
        print(one_line(str(file)))
    return 0


@app.command()
def doctor(models: options.Examined = None, gemm: options.Gemm = False) -> int:
    """Check this installation: versions, engines, models, folders."""
    from picker_runtime.doctor import examine

    statuses = []
    for finding in examine(gemm=gemm, models=models or ()):
        print(f"{finding.mark:4}  {one_line(finding.text)}", flush=True)
        statuses.append(finding.exit_status)
    return min((status for status in statuses if status), default=0)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-runtime")
