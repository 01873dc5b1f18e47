import os
from pathlib import Path

import pytest

from picker_runtime.engines.threads import available_threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def threads(folder: Path, membership: str, quotas: dict[str, str]) -> int:
    (folder / "cgroup").write_text(membership)
    for group, text in quotas.items():
        (folder / "fs" / group).mkdir(parents=True, exist_ok=True)
        (folder / "fs" / group / "cpu.max").write_text(text)
    return available_threads(cgroups=folder / "fs", membership=folder / "cgroup")


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({}, 8),
        ({".": "300000 100000\n"}, 3),
        ({"a/b": "max 100000\n"}, 8),
        ({"a/b": "250000 100000\n"}, 3),  # two and a half cores
        ({"a": "200000 100000\n", "a/b": "400000 100000\n"}, 2),
        ({"a/b": "20000 100000\n"}, 1),
        ({"a/other": "100000 100000\n"}, 8),
    ],
)
def test_the_smallest_quota_on_the_way_up_counts(quotas: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert threads(tmp_path, "0::/a/b\n", quotas) == expected


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("group", "quota", "expected"),
    [("cpu,cpuacct/a", 150_000, 2), ("cpu,cpuacct", 100_000, 1), ("cpu,cpuacct/a", -1, 8), ("memory/a", 100_000, 8)],
)
def test_quotas_of_version_1_count(group: str, quota: int, expected: int, tmp_path: Path) -> None:
    (tmp_path / "fs" / group).mkdir(parents=True)
    (tmp_path / "fs" / group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "fs" / group / "cpu.cfs_period_us").write_text("100000\n")
    membership = "9:memory:/a\n3:cpu,cpuacct:/a\n1:name=systemd:/a\n"
    assert threads(tmp_path, membership, {}) == expected


@pytest.mark.usefixtures("cores")
def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert available_threads(cgroups=tmp_path / "none", membership=tmp_path / "neither") == 8
