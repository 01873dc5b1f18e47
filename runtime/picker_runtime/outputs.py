"""The files of one tomogram: their names, the order they are written in, and reading them back."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from picker_runtime.atomic import remove
from picker_runtime.detections import Detections
from picker_runtime.detector import Detection
from picker_runtime.errors import InputError, UsageError
from picker_runtime.formats import WRITERS, FormatContext, csv, find_writer, read_picks, relion5
from picker_runtime.formats.base import Centre
from picker_runtime.paths import is_folder
from picker_runtime.records import DetectionRecord, path_from

TOMOGRAM_SUFFIXES = {".mrc", ".rec", ".map", ".gz", ".bz2"}
CANDIDATES = ".candidates.csv"
RECORD = ".json"
LONGEST_NAME = 255
"""Bytes, on all common file systems."""


def stem_of(path: Path) -> str:
    """Return the name that all outputs of a tomogram begin with: its own, without .mrc .rec .map .gz .bz2."""
    name = path.name or "folder"  # . and / have none; opening them refuses them
    while (suffix := Path(name).suffix).lower() in TOMOGRAM_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def check_targets(targets: Iterable[tuple[Path, Path]]) -> None:
    """Check that no two inputs, each with its target `folder / stem`, would write the same file.

    Raises:
        UsageError: E81, naming two that would.
    """
    owners: dict[Path, Path] = {}
    for source, target in targets:
        for suffix in (".csv", CANDIDATES, RECORD):
            file = target.with_name(target.name + suffix)
            if file in owners:
                problem = f"and {owners[file]} would both be written to {file}"
                raise UsageError(81, str(source), problem, "rename one, or run them apart with different -o folders")
            owners[file] = source


def check_formats(names: Iterable[str]) -> None:
    """Check the names of the formats asked for.

    Raises:
        UsageError: E80 if one is unknown.
    """
    for name in names:
        find_writer(name)


def check_name(target: Path, formats: Sequence[str]) -> None:
    """Check that the files of one tomogram, `folder / stem`, can be called so.

    Raises:
        InputError: E47 if a name is too long, or a format cannot hold it.
    """
    length = len(os.fsencode(target.name + CANDIDATES))
    if length > LONGEST_NAME:
        problem = f"its files would have names of {length} bytes, at most {LONGEST_NAME} are possible"
        raise InputError(47, target.name, problem, "rename the tomogram")
    if relion5.FORMAT.name in formats:
        relion5.check_name(target.parent, target.name)


def write_outputs(
    target: Path,
    detection: Detection,
    *,
    tomogram: Path | None,
    formats: Sequence[str],
    relion_centre: Centre,
    again: bool = False,
) -> Detection:
    """Write all files of one tomogram to `folder / stem`, the record last; return the detection with it as written.

    again: the candidates are those that lie there, so that an earlier record stays true of them until the new one is
    written; else it is removed first, after the files of other formats, which nothing else names: a record that is
    there is that of the files beside it.
    tomogram: the file that was picked, None for an array.
    formats: besides csv; those that the record of an earlier run there names are written again, each with its centre,
    so that all files of a tomogram hold the same picks; files of classes that the model does not have are removed. If
    that run picked in another file, a warning says so.

    Raises:
        OutputError: E70 or E71 if one cannot be written.
    """
    folder, stem = target.parent, target.name
    context = replace(_context(detection.record), tomogram=stem)
    earlier, notes = _earlier(target, tomogram)
    if not again:
        _remove_all(folder, stem, earlier.outputs if earlier else ())
        remove(target.with_name(stem + RECORD))
    centres = _formats_of(earlier) | dict.fromkeys(formats, relion_centre)
    written = [*_write_picks(target, detection, context, centres), folder / (stem + RECORD)]
    origin = replace(detection.record.tomogram, name=stem, path=path_from(folder, tomogram) if tomogram else "")
    names = tuple(dict.fromkeys(file.relative_to(folder).as_posix() for file in written))
    warnings = (*detection.record.warnings, *notes)
    record = replace(detection.record, tomogram=origin, outputs=names, formats=centres, warnings=warnings)
    if earlier is not None:
        _remove_all(folder, stem, set(earlier.outputs) - set(names))
    record.write(written[-1])
    return replace(detection, record=record)


def _write_picks(
    target: Path, detection: Detection, context: FormatContext, centres: Mapping[str, Centre]
) -> list[Path]:
    """Write picks and candidates as CSV, and the picks in other formats, each with its centre; return the files."""
    folder, stem = target.parent, target.name
    written = csv.write(folder, stem, detection.picks, context)
    written += csv.write(folder, stem + CANDIDATES.removesuffix(".csv"), detection.candidates, context)
    for name, centre in centres.items():
        if name != "csv":
            written += find_writer(name)(folder, stem, detection.picks, replace(context, relion_centre=centre))
    return written


def find_records(path: Path) -> list[Path]:
    """Return the records that an input stands for: of a folder that `detect` wrote, or of one of the files in it.

    Raises:
        InputError: E44 if a folder holds no candidates.
    """
    if not is_folder(path):
        return [_record_beside(path)]
    found = [_record_beside(candidates) for candidates in sorted(path.glob(f"*{CANDIDATES}"))]
    if not found:
        raise InputError(44, str(path), f"no *{CANDIDATES} in this folder", "give a folder that `detect` wrote")
    return found


def read_candidates(record: DetectionRecord, path: Path) -> Detections:
    """Return the candidates that stand beside the record at `path`.

    Raises:
        InputError: E44 if they are not there, are not exactly candidates, or are not as many as the record says.
    """
    file = path.with_name(path.name.removesuffix(RECORD) + CANDIDATES)
    context = _context(record)
    candidates = read_picks(file, context)
    if len(candidates) != record.candidates:
        problem = f"{len(candidates)} candidates, {path.name} says {record.candidates}"
        raise InputError(44, file.name, problem, "run `detect` again")
    return candidates


def _earlier(target: Path, tomogram: Path | None) -> tuple[DetectionRecord | None, list[str]]:
    """Return the record that an earlier run left there, and what to warn of: it is unreadable, or of another file."""
    path = target.with_name(target.name + RECORD)
    if not os.path.lexists(path):
        return None, []
    try:
        earlier = DetectionRecord.read(path)
    except InputError as error:
        return None, [f"files of other formats that an earlier run left may be out of date: {error.problem}"]
    if tomogram is None or not earlier.tomogram.path:
        return earlier, []
    before, now = os.path.realpath(target.parent / earlier.tomogram.path), os.path.realpath(tomogram)
    warning = f"the results of {before} that were here were replaced by those of {now}; another -o keeps both"
    return earlier, [warning] if before != now and Path(before).exists() else []


def _formats_of(earlier: DetectionRecord | None) -> dict[str, Centre]:
    """Return the formats in which an earlier run wrote a tomogram, each with its centre."""
    formats = earlier.formats if earlier else {}
    return {name: centre for name, centre in formats.items() if name in WRITERS}


def _remove_all(folder: Path, stem: str, names: Collection[str]) -> None:
    """Remove files of one tomogram that lie in the folder; what a record names besides, it does not own."""
    for name in names:
        if Path(name).name == name and name.startswith(f"{stem}_"):
            remove(folder / name)
    if f"{stem}{relion5.SUFFIX}" in names:
        relion5.write_index(folder)


def _context(record: DetectionRecord) -> FormatContext:
    return FormatContext(
        tomogram=record.tomogram.name,
        shape=record.tomogram.shape,
        voxel_size=record.tomogram.voxel_size_angstrom,
        class_names=record.model.classes,
    )


def _record_beside(path: Path) -> Path:
    for suffix in (CANDIDATES, ".csv", RECORD):
        if path.name.endswith(suffix):
            return path.with_name(path.name.removesuffix(suffix) + RECORD)
    return path
