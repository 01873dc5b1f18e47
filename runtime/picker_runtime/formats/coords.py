"""`.coords`: one file a class, `x y z` in voxels a line, as TomoTwin, napari-boxmanager and ArtiaX read it."""

from pathlib import Path

from picker_runtime.atomic import remove, write_text
from picker_runtime.detections import Detections
from picker_runtime.formats.base import Format, FormatContext, NamedPick, bad_line, parse_numbers, read_lines


def write(folder: Path, stem: str, detections: Detections, context: FormatContext) -> list[Path]:
    """Write `<stem>_<class>.coords` for every class with picks, and remove an older file of a class without.

    Raises:
        OutputError: E70 or E71.
    """
    rounded = detections.rounded()
    written = []
    for number, name in enumerate(context.class_names):
        path = folder / f"{stem}_{name}.coords"
        positions = rounded.positions[rounded.class_ids == number].tolist()
        if positions:
            write_text(path, "".join(f"{x:.3f} {y:.3f} {z:.3f}\n" for z, y, x in positions))
            written.append(path)
        else:
            remove(path)
    return written


def read(path: Path, context: FormatContext | None = None) -> list[NamedPick]:
    """Read one class's file; the class is the end of the file's name.

    Raises:
        InputError: E44, naming the line, if a line does not hold three numbers.
    """
    name = _class_of(path, context.class_names if context else ())
    picks: list[NamedPick] = []
    for line, text in enumerate(read_lines(path), start=1):
        fields = text.split()
        if not fields:
            continue
        if len(fields) != 3:
            raise bad_line(path, line, f"{len(fields)} columns, expected x y z")
        x, y, z = parse_numbers(path, line, fields)
        picks.append(NamedPick(line, name, (z, y, x)))
    return picks


def _class_of(path: Path, known: tuple[str, ...]) -> str:
    matching = [name for name in known if path.stem.endswith(f"_{name}")]
    return max(matching, key=len) if matching else path.stem.rpartition("_")[2]


FORMAT = Format(
    name="coords",
    convention="v in voxels",
    write=write,
    read=read,
    recognises=lambda path: path.suffix.lower() == ".coords",
)
