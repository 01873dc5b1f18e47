"""Engines for child processes that die, hang or fail in the middle of a tomogram."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from picker_runtime.engines import open_engine
from picker_runtime.engines.base import Candidates, Engine, FakeEngine, Source, TileTooLarge
from picker_runtime.errors import EngineError, InputError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.tiling import Tile

STRUCK = 28
"""Where along x the cube starts before which it happens."""


def look(cube: np.ndarray) -> Candidates:
    """Return a fingerprint of a cube."""
    return Candidates(
        centers=np.float32([[1, 2, 3]]),
        diameters=np.float32([cube.mean(dtype=np.float64)]),
        scores=np.float32([np.abs(cube).sum(dtype=np.float64)]),
        class_ids=np.int32([len(cube)]),
    )


class Misbehaving(FakeEngine):
    """Does something bad before a tile amid a tomogram, as often as `times` says; a file counts."""

    def __init__(self, deed: str, times: int, count: str, say: Callable[[str], None]) -> None:
        super().__init__(look)
        self.deed, self.times, self.count, self.say = deed, times, Path(count), say
        self.warnings = ["a warning from the child"]

    def __enter__(self) -> "Misbehaving":
        if self.deed == "no engine":
            raise EngineError(60, "fake", "not installed", "install it")
        if self.deed.startswith("opening ") and self._again():
            misbehave(self.deed.removeprefix("opening "))
        return self

    def prefetch(self, voxels: FileVoxels) -> None:
        target = np.zeros(voxels.row_bytes, np.uint8)
        voxels.fill(target, first_row=0)
        self.count.with_suffix(".next").write_text(f"{voxels.name} {voxels.shape} {target.sum()}")

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        self.say("a line")
        for tile, candidates in super().stream(source, tiles):
            struck = tile.cube.start[2] == STRUCK
            if struck and self.deed == "slow":
                for _ in range(5):
                    time.sleep(0.5)
                    self.say("")
            elif struck and not self.deed.startswith("opening") and self._again():
                misbehave(self.deed, tile)
            yield tile, candidates

    def _again(self) -> bool:
        done = len(self.count.read_text()) if self.count.exists() else 0
        self.count.write_text("x" * (done + 1))
        return done < self.times


def misbehave(deed: str, tile: Tile | None = None) -> None:
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "hang":
        signal.pause()
    elif deed == "exit":
        sys.stderr.write("CUDA says goodbye\n")
        sys.stderr.flush()
        os._exit(3)
    elif deed == "bug":
        raise ZeroDivisionError("oh")
    elif deed == "device lost":
        raise EngineError(61, "GPU", "cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS", "x")
    elif deed == "bad file":
        raise InputError(13, "a.mrc", "changed while it was read", "run again")
    elif deed == "cannot build":
        raise EngineError(62, "fake", "no such node", "another engine")
    elif deed == "too large" and tile is not None:
        raise TileTooLarge(tile.cube.shape)


def sleepy(say: Callable[[str], None]) -> FakeEngine:
    """Return an engine that never ends a tile."""

    def find(cube: np.ndarray) -> Candidates:
        time.sleep(1000)
        return look(cube)

    return FakeEngine(find)


def opened(name: str, graph: str, threads: int, say: Callable[[str], None]) -> Engine:
    """Return one of the CPU's engines."""
    return open_engine(name, Path(graph), threads=threads)
