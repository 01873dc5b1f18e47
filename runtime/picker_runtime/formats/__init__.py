"""Picks files: one module per family, found by being in this folder.

Inside, a position is z, y, x in voxels of the tomogram, 0-based, with voxel centres at the integers; only here does it
become x, y, z, an offset and a unit. Each module ends with its `FORMAT`, whose `convention` says which; together they
are the table of conventions:

    csv       v, and v * a beside it                        a = voxel size in angstrom
    relion5   v * a - N * a / 2, or with N / 2 - 1          N = size of the tomogram in voxels
    coords    v
    shrec     v

A further format is one more module with a `FORMAT`.
"""

import importlib
import pkgutil
from pathlib import Path

from picker_runtime.detections import Detections
from picker_runtime.errors import InputError, UsageError
from picker_runtime.formats.base import Format, FormatContext, NamedPick, Reader, Writer, number_classes
from picker_runtime.paths import is_file

__all__ = [
    "FORMATS",
    "READERS",
    "WRITERS",
    "Format",
    "FormatContext",
    "NamedPick",
    "find_writer",
    "read_named_picks",
    "read_picks",
]


def _discover() -> dict[str, Format]:
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found: list[Format] = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {entry.name: entry for entry in found}


FORMATS: dict[str, Format] = _discover()
WRITERS: dict[str, Writer] = {name: entry.write for name, entry in FORMATS.items()}
READERS: dict[str, Reader] = {name: entry.read for name, entry in FORMATS.items()}


def find_writer(name: str) -> Writer:
    """Return the writer of a format.

    Raises:
        UsageError: E80, listing the known names, if there is none of this name.
    """
    if name not in WRITERS:
        raise UsageError(80, f"--format {name}", "no such format", f"choose from {', '.join(WRITERS)}")
    return WRITERS[name]


def read_named_picks(path: Path, context: FormatContext | None = None) -> list[NamedPick]:
    """Read a picks file of any known format, told by its name.

    Without a context the rows of every tomogram are returned, and formats that need one are refused.

    Raises:
        InputError: E44 if it cannot be read, is of no known format, or a line of it is wrong.
    """
    if not is_file(path):
        raise InputError(44, path.name, "no such file", "check the path")
    for entry in FORMATS.values():
        if entry.recognises(path):
            return entry.read(path, context)
    raise InputError(44, path.name, "of no known picks format", f"give a file of {', '.join(FORMATS)}")


def read_picks(path: Path, context: FormatContext) -> Detections:
    """Read the picks of one tomogram, with the classes numbered as in the context.

    Raises:
        InputError: E44 as `read_named_picks`, and for a class that the context does not know.
    """
    return number_classes(path, read_named_picks(path, context), context)
