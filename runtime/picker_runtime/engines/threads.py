"""How many threads this process may use: its affinity and its control group's quota, not the machine's core count."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
QUOTAS = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
"""Files that hold a quota and its period, in version 2 and in version 1."""


def available_threads(*, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Return the number of cores that the scheduler grants this process, at least 1.

    The quota is the smallest from the process's control group up to the root, of version 2 and of version 1.
    """
    cores = float(len(os.sched_getaffinity(0)))
    for folder in _groups(cgroups, membership):
        for names in QUOTAS:
            try:
                quota, period = (int(word) for name in names for word in (folder / name).read_text().split())
                cores = min(cores, quota / period if quota > 0 else cores)
            except (OSError, ValueError, ZeroDivisionError):
                continue  # no quota here: the root has no such file, others hold "max" or -1
    return max(1, math.ceil(cores))


def _groups(cgroups: Path, membership: Path) -> list[Path]:
    """Return the folders of the process's groups, version 2's and that of version 1's `cpu`, and those above them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    leaves = {cgroups: cgroups}
    for line in lines:
        controllers, _, own = line.partition(":")[2].partition(":")
        if not controllers or "cpu" in controllers.split(","):
            root = cgroups / controllers
            leaves[root] = root / own.strip("/")
    return [
        folder
        for root, leaf in leaves.items()
        for folder in (leaf, *leaf.parents)  # of a container's group some may not be there
        if folder.is_relative_to(root)
    ]
