"""The command line in this process or in one of its own, and small tomograms to give it."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from golden.blob_graph import VOXEL_SIZE, scattered, volume_with_blobs
from numpy.typing import NDArray

from picker_runtime.cli import app
from picker_runtime.console import run
from picker_runtime.mrc import write_mrc

SHAPE = (33, 48, 61)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended: its exit status and the lines it wrote."""

    status: int
    stdout: str
    stderr: str

    @property
    def complaints(self) -> list[str]:
        """The lines on stderr that are no warnings."""
        return [line for line in self.stderr.splitlines() if not line.startswith("picker: warning: ")]


def picker(*arguments: object) -> Outcome:
    """Run `picker-runtime` in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        status = run(app, "picker-runtime", [str(argument) for argument in arguments])
    return Outcome(status=status, stdout=stdout.getvalue(), stderr=stderr.getvalue())


def heed_interrupts() -> None:
    """Undo, in a new process, what shells do to those in the background: let them ignore interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: object, preexec: Callable[[], None] | None = None, **environment: str) -> subprocess.Popen[str]:
    """Start `picker-runtime` as a process of its own."""
    command = [sys.executable, "-c", "from picker_runtime.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
        preexec_fn=preexec or heed_interrupts,
    )


def tomogram(path: Path, *, count: int = 6, seed: int = 0, **changes: Any) -> NDArray[np.float64]:
    """Write a tomogram with blobs at places of its seed; return their positions `(n, 3) zyx, voxels`."""
    shape = changes.pop("shape", SHAPE)
    positions = scattered(shape, count=count, apart=14, margin=3, seed=seed)
    write_mrc(path, volume_with_blobs(shape, positions, seed=seed), changes.pop("voxel_size", VOXEL_SIZE))
    return positions


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
