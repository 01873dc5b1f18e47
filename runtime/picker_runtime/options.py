"""What each option of `picker-runtime` is called, takes and means."""

from pathlib import Path
from typing import Annotated

import typer

from picker_runtime.settings import ByteSign, RelionCentre

Inputs = Annotated[list[Path] | None, typer.Argument(metavar="INPUT...", help="Tomograms: .mrc, .rec or .map files.")]
Detected = Annotated[
    list[Path] | None, typer.Argument(metavar="INPUT...", help="Folders that `detect` wrote, or files in them.")
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Tomograms, <stem>.json records, or models.")]

Output = Annotated[Path, typer.Option("--output", "-o", envvar="PICKER_OUTPUT", help="Folder for the picks.")]
PicksOutput = Annotated[Path | None, typer.Option("--output", "-o", help="Folder; else where the candidates are.")]
SampleOutput = Annotated[Path, typer.Option("--output", "-o", help="Folder for the copy.")]

Model = Annotated[str, typer.Option(envvar="PICKER_MODEL", help="A bundled model's name, or a folder.")]
Engine = Annotated[
    str, typer.Option(envvar="PICKER_ENGINE", metavar="auto|tensorrt|tensorrt-rtx|cuda|openvino|onnxruntime")
]
Precision = Annotated[
    str,
    typer.Option(
        envvar="PICKER_PRECISION",
        metavar="auto|fp32|fp16|int8",
        help="auto: fp32 on CPUs, fp16 on GPUs. int8, on CPUs, is up to three times as fast.",
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, envvar="PICKER_THREADS", help="Default: all that may be used.")]
Tile = Annotated[
    str | None, typer.Option(envvar="PICKER_TILE", metavar="N|Z,Y,X", help="Largest cube, in voxels, halo included.")
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, envvar="PICKER_BATCH", help="Cubes per call of the engine. Default: one; on a GPU what keeps it busy."
    ),
]

VoxelSize = Annotated[float | None, typer.Option(metavar="ANGSTROM", help="Instead of the header's.")]
Mode0 = Annotated[ByteSign | None, typer.Option(help="How to read 8-bit voxels, instead of the header's flag.")]
Invert = Annotated[bool, typer.Option("--invert", help="The particles have the other contrast than the model's.")]
MaskFile = Annotated[Path | None, typer.Option(help="MRC of the tomogram's shape, not 0 where to pick.")]

ThresholdTexts = Annotated[
    list[str] | None,
    typer.Option("--threshold", metavar="T|CLASS=T", help="Lowest score of a pick, of all classes or one; repeatable."),
]
Classes = Annotated[str | None, typer.Option(metavar="A,B", help="Only these classes.")]
Formats = Annotated[
    list[str] | None, typer.Option("--format", metavar="NAME", help="A format to write beside the CSV; repeatable.")
]
Centre = Annotated[RelionCentre, typer.Option(help="Centre of RELION 5 coordinates: size/2, or size/2 - 1.")]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per tomogram on stdout, no tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No tables, no progress, no warnings; only errors.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the settings as JSON and end.")]
Version = Annotated[bool, typer.Option("--version", help="Show the version and end.")]
Examined = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", help="Names or folders; default: all that come with picker.", show_default=False
    ),
]
Gemm = Annotated[bool, typer.Option("--gemm", help="Also measure the speed of matrix products.")]
