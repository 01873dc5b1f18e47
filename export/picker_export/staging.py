"""Staging: a bundle is built out of sight, and takes an older one's place when it is complete."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from picker_runtime.atomic import check_writable_folder, output_error
from picker_runtime.bundle import CARD, GRAPHS
from picker_runtime.ir_safety import CONSTANTS

STAGE = ".new"


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give an empty folder within `folder`, whose files go to `folder` when the block ends well.

    Until then an older bundle in `folder` stays as it was; then graphs that the new one lacks are removed.

    Raises:
        OutputError: E70 or E71 if the folder cannot be written.
    """
    stage = folder / STAGE
    check_writable_folder(folder)
    shutil.rmtree(stage, ignore_errors=True)
    check_writable_folder(stage)
    try:
        yield stage
        _install(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _install(stage: Path, folder: Path) -> None:
    """Move the files, the card last."""
    new = sorted((path.name for path in stage.iterdir()), key=lambda name: name == CARD)
    graphs = [Path(name) for name in GRAPHS.values()]
    old = {name.name for graph in graphs for name in (graph, graph.with_suffix(CONSTANTS))}
    try:
        for name in new:
            (stage / name).replace(folder / name)
        for name in old.difference(new):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
