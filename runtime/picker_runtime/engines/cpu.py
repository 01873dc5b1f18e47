"""What the CPU engines share: tiles in batches, the next batch read while this one runs, outputs to candidates."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from picker_runtime.engines.base import Candidates, Source
from picker_runtime.engines.threads import available_threads
from picker_runtime.errors import EngineError, ModelError, UsageError
from picker_runtime.extras import CLEAR_ONNXRUNTIME, package, require
from picker_runtime.tiling import Tile

INPUTS = ("cubes", "mean", "inverse_std")
OUTPUTS = ("centers", "diameters", "scores", "class_ids")

Cubes = list[NDArray[np.float32] | None]
Arrays = Mapping[str, NDArray[Any]]


class CpuEngine(ABC):
    """An engine that holds one graph and runs it on batches of cubes in this process.

    threads: for the graph; None for all that the process may use.
    batch: cubes to a call of the graph; a batch that is not full is filled up with zeros, so that shapes stay few.

    Entering raises:
        EngineError: E60 if its library cannot be imported.
        ModelError: E53 if the library does not take the graph, or the graph's inputs and outputs are not the model's.
    """

    name: str

    def __init__(self, graph: Path, *, threads: int | None = None, batch: int = 1) -> None:
        self.graph = graph
        self.threads = threads or available_threads()
        self.batch = batch

    def __enter__(self) -> Self:
        try:
            inputs, outputs = self._open()
        except (EngineError, ModelError):
            raise
        except Exception as error:  # each library has its own
            raise ModelError(
                53, self.graph.name, f"{self.name}: {last_line(error)}", "export the model again"
            ) from error
        if set(inputs) != set(INPUTS) or not set(OUTPUTS) <= set(outputs):
            problem = f"takes {', '.join(inputs)} and gives {', '.join(outputs)}, expected {INPUTS} and {OUTPUTS}"
            raise ModelError(53, self.graph.name, problem, "export the model again")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield every tile once with its candidates, in the order given; a tile that cannot be read has none.

        Raises:
            EngineError: E61 if the library fails.
        """
        for group, cubes in _read_ahead(source, _batches(tiles, self.batch)):
            yield from zip(group, self._candidates(source, cubes), strict=True)

    def _candidates(self, source: Source, cubes: Cubes) -> list[Candidates]:
        readable = [cube for cube in cubes if cube is not None]
        if not readable:
            return [Candidates.empty() for _ in cubes]
        stacked = np.zeros((self.batch, 1, *readable[0].shape), np.float32)
        for row, cube in zip(stacked, readable, strict=False):
            row[0] = cube
        mean = np.full(self.batch, source.mean, np.float32)
        inverse_std = np.full(self.batch, source.inverse_std, np.float32)
        try:
            outputs = self.infer({"cubes": stacked, "mean": mean, "inverse_std": inverse_std})
        except Exception as error:  # each library has its own
            problem = f"failed on {self.batch} cubes of {readable[0].shape} voxels: {last_line(error)}"
            raise EngineError(61, self.name, problem, "try a smaller tile or batch, or another engine") from error
        rows = iter(range(len(readable)))
        return [Candidates.empty() if cube is None else row_candidates(outputs, next(rows)) for cube in cubes]

    @abstractmethod
    def _open(self) -> tuple[list[str], list[str]]:
        """Load the graph; return the names of its inputs and outputs."""

    @abstractmethod
    def infer(self, inputs: Arrays) -> Arrays:
        """Run the graph; return its outputs by name."""

    @abstractmethod
    def _close(self) -> None:
        """Free the graph."""


def load_library(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an engine's library.

    Raises:
        EngineError: E60, naming the pip line, if it is not installed, or only what an uninstalled one left.
    """
    try:
        library = require(module, extra=extra)
    except UsageError as error:
        raise EngineError(60, error.subject, error.problem, error.fix) from error
    if getattr(library, "__file__", None) is None:
        problem = f"is not whole: nothing but a folder ({', '.join(library.__path__)})"
        clear = CLEAR_ONNXRUNTIME if module == "onnxruntime" else "remove that folder"
        raise EngineError(60, module, problem, f"{clear}, then pip install --force-reinstall '{package(extra)}'")
    return library


def _batches(tiles: Iterable[Tile], batch: int) -> Iterator[list[Tile]]:
    """Yield runs of at most `batch` tiles whose cubes have one shape."""
    for _, alike in groupby(tiles, key=lambda tile: tile.cube.shape):
        while group := list(islice(alike, batch)):
            yield group


def _read_ahead(source: Source, batches: Iterator[list[Tile]]) -> Iterator[tuple[list[Tile], Cubes]]:
    """Yield each batch with its cubes while a thread reads the next one."""

    def following() -> tuple[list[Tile], Cubes] | None:
        group = next(batches, None)
        return None if group is None else (group, [source.read(tile.cube) for tile in group])

    with ThreadPoolExecutor(1, thread_name_prefix="reader") as reader:
        ahead = reader.submit(following)
        while (current := ahead.result()) is not None:
            ahead = reader.submit(following)
            yield current


def row_candidates(outputs: Arrays, row: int) -> Candidates:
    """Return one cube's candidates, without the slots that mean nothing."""
    scores = outputs["scores"][row]
    filled = scores > 0
    return Candidates(
        centers=outputs["centers"][row][filled].astype(np.float32),
        diameters=outputs["diameters"][row][filled].astype(np.float32),
        scores=scores[filled].astype(np.float32),
        class_ids=outputs["class_ids"][row][filled].astype(np.int32),
    )


def last_line(error: Exception) -> str:
    """Return the last line that says something: libraries put file and line of their own source first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
