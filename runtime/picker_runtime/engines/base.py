"""The engine protocol: tiles of a source in, candidates per tile out; and the fake that tests and embedders use."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box, Triple
from picker_runtime.tiling import Tile


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """What the graph says of one tile, in its cube's own coordinates; slots with score 0 are already left out.

    centers: `(k, 3) float32, zyx, voxels of the cube`.
    diameters: `(k,) float32, voxels of the model's grid`.
    scores: `(k,) float32`, descending.
    class_ids: `(k,) int32`.
    """

    centers: NDArray[np.float32]
    diameters: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]

    @classmethod
    def empty(cls) -> "Candidates":
        """Return no candidates."""
        return cls(
            centers=np.zeros((0, 3), np.float32),
            diameters=np.zeros(0, np.float32),
            scores=np.zeros(0, np.float32),
            class_ids=np.zeros(0, np.int32),
        )


class Source(Protocol):
    """Where an engine takes voxels from, with the numbers that normalise them."""

    mean: float
    inverse_std: float  # negative when the contrast is inverted

    def read(self, box: Box) -> NDArray[np.float32] | None:
        """Return the box's voxels as stored, `(D, H, W) float32`, all finite; None where no voxel of it is finite."""
        ...


@runtime_checkable
class RawSource(Source, Protocol):
    """A source whose voxels lie in a file, for engines that convert them elsewhere."""

    def raw(self) -> FileVoxels:
        """Return the voxels as the file stores them; non-finite ones count as `mean`."""
        ...


class TileTooLarge(Exception):  # noqa: N818  no error: the caller gives smaller tiles
    """An engine has no memory for cubes of this shape, one at a time; what was yielded before is right."""

    def __init__(self, shape: Triple) -> None:
        super().__init__(shape)
        self.shape = shape


class Engine(Protocol):
    """Runs a model's graph over tiles; a context manager that holds its resources between enter and exit."""

    name: str

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield every tile once with its candidates, in the order given.

        Raises:
            TileTooLarge: if there is no memory for the next tile.
        """
        ...


@runtime_checkable
class Prefetching(Protocol):
    """An engine that can begin to read the next tomogram while it works on this one."""

    def prefetch(self, voxels: FileVoxels) -> None:
        """Announce the tomogram after the one that is streamed next; its file may be closed meanwhile."""
        ...


def take_warnings(engine: Engine) -> tuple[str, ...]:
    """Return what an engine wants users to know and has not said before; most engines have nothing to say."""
    warnings: list[str] = getattr(engine, "warnings", [])
    taken = tuple(warnings)
    warnings.clear()
    return taken


class FakeEngine:
    """An engine made of a plain function, for tests and for embedding without a model.

    The function gets the normalised cube `(D, H, W) float32` and returns its candidates.
    """

    name = "fake"

    def __init__(self, find: Callable[[NDArray[np.float32]], Candidates]) -> None:
        self._find = find

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        """Yield every tile with what the function found in it."""
        for tile in tiles:
            cube = source.read(tile.cube)
            if cube is None:
                yield tile, Candidates.empty()
            else:
                yield tile, self._find((cube - np.float32(source.mean)) * np.float32(source.inverse_std))
