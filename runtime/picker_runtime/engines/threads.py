"""How many threads this process may use: its affinity and its control group's quota, not the machine's core count."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def available_threads(*, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the number of cores that the scheduler grants this process, at least 1.

    The quota is the smallest `cpu.max` from the process's control group (version 2) up to the root.
    """
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _groups(cgroups, membership):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
            cores = min(cores, int(quota) / int(period))
        except (OSError, ValueError):
            continue  # no quota here: the root has no such file, others hold "max"
    return max(1, math.ceil(cores))


def _groups(cgroups: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return [cgroups]
    own = next((line.removeprefix("0::").strip("/") for line in lines if line.startswith("0::")), "")
    leaf = cgroups / own
    return [leaf, *(folder for folder in leaf.parents if folder.is_relative_to(cgroups))]
