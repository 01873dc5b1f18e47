"""A model bundle: a folder with a card, a graph and what belongs to them, checked before anything parses the graph."""

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from picker_runtime.atomic import write_text
from picker_runtime.card import FILE_NAME, ModelCard
from picker_runtime.errors import ModelError
from picker_runtime.ir_safety import CONSTANTS, check_ir
from picker_runtime.onnx_safety import check_graph
from picker_runtime.paths import is_file, is_folder

CARD = "card.json"
GRAPH = "model.onnx"
GRAPHS = {"fp32": GRAPH, "fp16": "model.fp16.onnx", "int8": "model.int8.xml"}
"""File of each precision; every bundle has the first, the others are made of it."""
SELFTEST = "selftest.npz"
MODELS = Path(__file__).parent / "models"
"""The bundles that come with the package, one folder a name."""


@dataclass(frozen=True)
class Bundle:
    """A model's folder and its card, both checked, and marks by which a file that changed since is told."""

    folder: Path
    card: ModelCard
    marks: tuple[tuple[int, ...], ...]

    @classmethod
    def open(cls, name_or_folder: str | Path) -> "Bundle":
        """Open a model that comes with the package, by name, or any other by its folder; a `Path` is a folder always.

        Raises:
            ModelError: E50 if there is none, E51 if its card is invalid, E52 if a file is absent or damaged, E53 if
                the graph could do more than compute.
        """
        folder = _find(name_or_folder)
        before = _mark(folder / CARD)
        card = _read_card(folder)
        marks = before, *(_mark(folder / name) for name in card.files)
        if GRAPH not in card.files:
            raise ModelError(51, f"{folder.name}/{CARD}", f"files does not name {GRAPH}", "export the model again")
        for name, digest in card.files.items():
            _check_hash(folder / name, digest)
        bundle = cls(folder, card, marks)
        for path in bundle.graphs.values():
            bundle._check(path)
        return bundle

    @property
    def graph(self) -> Path:
        """Path of the float32 graph."""
        return self.folder / GRAPH

    @property
    def graphs(self) -> dict[str, Path]:
        """Paths of all its graphs, by precision."""
        return {precision: self.folder / name for precision, name in GRAPHS.items() if name in self.card.files}

    def unchanged(self) -> "Bundle":
        """Return the same model as it lies there now; files that were but touched are the same.

        Raises:
            ModelError: E50 to E53 if it cannot be used now, E52 if it is another.
        """
        marks = tuple(_mark(self.folder / name) for name in (CARD, *self.card.files))
        now = self if marks == self.marks else Bundle.open(self.folder)
        if now.card != self.card:
            raise ModelError(52, self.folder.name, "is not the model any more that was opened", "start again")
        return now

    def _check(self, graph: Path) -> None:
        if graph.suffix == ".onnx":
            check_graph(graph)
            return
        constants = graph.with_suffix(CONSTANTS).name
        if constants not in self.card.files:
            problem = f"files names {graph.name} without {constants}"
            raise ModelError(51, f"{self.folder.name}/{CARD}", problem, "export the model again")
        check_ir(graph)

    def selftest(self) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of the self-test, an input and the output it must give; None where the card names none.

        Raises:
            ModelError: E52 if they cannot be read.
        """
        if SELFTEST not in self.card.files:
            return None
        path = self.folder / SELFTEST
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise _damaged(path, f"cannot be read ({error})") from error


def known_models() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(card.parent.name for card in MODELS.glob(f"*/{CARD}"))


def write_card(folder: Path, card: ModelCard) -> ModelCard:
    """Write the card with the sha256 of every file of the folder but itself and documentation (`*.md`); return it.

    Raises:
        OutputError: E70 or E71 if it cannot be written.
    """
    files = {
        path.name: file_sha256(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != CARD and path.suffix != ".md" and FILE_NAME.fullmatch(path.name)
    }
    complete = replace(card, files=files)
    write_text(folder / CARD, complete.to_json())
    return complete


def _find(name_or_folder: str | Path) -> Path:
    known = known_models()
    if isinstance(name_or_folder, str) and name_or_folder in known:
        return MODELS / name_or_folder
    folder = Path(name_or_folder)
    if not is_file(folder / CARD):
        problem = f"no folder with a {CARD}" if is_folder(folder) else "no such model or folder"
        names = ", ".join(known) or "none"
        raise ModelError(50, str(name_or_folder), problem, f"give a model's folder or a known name ({names})")
    return folder


def _read_card(folder: Path) -> ModelCard:
    subject = f"{folder.name}/{CARD}"
    try:
        text = (folder / CARD).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(51, subject, f"cannot be read ({error})", "install the model again") from error
    return ModelCard.from_json(text, subject=subject)


def _mark(path: Path) -> tuple[int, ...]:
    """Return what tells a file from another or a changed one; nothing for one that cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _check_hash(path: Path, expected: str) -> None:
    try:
        found = file_sha256(path)
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from error
    if found != expected:
        raise _damaged(path, f"sha256 is {found[:12]}..., its card says {expected[:12]}...")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _damaged(path: Path, problem: str) -> ModelError:
    return ModelError(52, f"{path.parent.name}/{path.name}", problem, "install or export the model again")
