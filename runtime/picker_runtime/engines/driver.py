"""Is there an NVIDIA driver, and which GPUs: asked in a process of its own, since libraries crash without a driver."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from picker_runtime.engines import driver_query

DEVICE_FILES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What a driver puts there, on Linux and under WSL; where neither is, nothing more is asked."""
KERNEL_MODULE = Path("/proc/driver/nvidia/version")
QUERY = (sys.executable, "-I", driver_query.__file__)
PATIENCE_SECONDS = 30.0
INSTALL = "install NVIDIA's driver, or start the container with --gpus all"
RESTART = "see whether nvidia-smi works; update the driver or restart the machine"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One GPU as the driver describes it; `memory` in bytes."""

    index: int
    name: str
    compute_capability: tuple[int, int]
    memory: int

    def __str__(self) -> str:
        major, minor = self.compute_capability
        return f"{self.name} (compute capability {major}.{minor}, {self.memory / 2**30:.0f} GiB)"


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the driver says: its GPUs, or the problem and what helps.

    cuda: the CUDA version it speaks, as 13000 for 13.0; 0 where unknown. version: its own, as "580.65.06".
    seen: whether there is any sign of a driver, working or not.
    """

    gpus: tuple[Gpu, ...] = ()
    cuda: int = 0
    version: str = ""
    problem: str = ""
    fix: str = ""
    seen: bool = True

    def __str__(self) -> str:
        return f"driver {self.version or 'of unknown version'} for CUDA {self.cuda // 1000}.{self.cuda % 1000 // 10}"


@cache
def probe_driver() -> Driver:
    """Return what the driver of this machine says, asked once."""
    return ask_driver(DEVICE_FILES, QUERY)


def ask_driver(device_files: Sequence[Path], query: Sequence[str], *, patience: float = PATIENCE_SECONDS) -> Driver:
    """Run the query where a driver seems to be, and return its answer or why there is none."""
    if not any(path.exists() for path in device_files):
        return Driver(problem="no NVIDIA driver here", fix=INSTALL, seen=False)
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=patience, check=False)
        answer = json.loads(done.stdout) if done.returncode == 0 else {"problem": _end(done.returncode)}
        return _driver(answer)
    except subprocess.TimeoutExpired:
        return Driver(problem=f"the driver does not answer within {patience:.0f} s", fix=RESTART)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Driver(problem=f"the driver cannot be asked ({error})", fix=RESTART)


def _driver(answer: dict[str, Any]) -> Driver:
    if "problem" in answer:
        return Driver(problem=answer["problem"], version=_version(), fix=RESTART)
    gpus = tuple(
        Gpu(
            index=index,
            name=gpu["name"],
            compute_capability=(gpu["compute_capability"][0], gpu["compute_capability"][1]),
            memory=gpu["memory"],
        )
        for index, gpu in enumerate(answer["gpus"])
    )
    problem = "" if gpus else "the driver finds no GPU"
    return Driver(gpus=gpus, cuda=answer["cuda"], version=_version(), problem=problem, fix=RESTART if problem else "")


def _end(status: int) -> str:
    """Return how the query ended, which a broken driver can crash."""
    return (
        f"the driver's query was killed by signal {-status}"
        if status < 0
        else f"the driver's query ended with {status}"
    )


def _version(path: Path = KERNEL_MODULE) -> str:
    try:
        found = re.search(r"\b\d+\.\d+(\.\d+)?\b", path.read_text("utf-8", errors="replace"))
    except OSError:
        return ""
    return found[0] if found else ""
