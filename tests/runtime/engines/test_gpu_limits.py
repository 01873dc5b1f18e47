"""The job that drives the GPU pipeline to its limits, rehearsed without a GPU."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmark import gpu_limits
from benchmark.limited_device import LimitedDevice
from runtime.engines.fake_device import FakeDevice

from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.engines.device import DeviceMemoryError


def test_an_allowance_is_all_there_is() -> None:
    device = LimitedDevice(FakeDevice(memory=10_000), 1000)
    assert (device.memory_info().free, device.memory_info().total) == (1000, 1000)
    buffer = device.allocate(700)
    assert device.memory_info().free == 300
    with pytest.raises(DeviceMemoryError):
        device.allocate(301)
    device.free(buffer)
    device.allocate(1000)
    assert device.most == 1000


def test_without_an_allowance_it_is_the_devices_own() -> None:
    device = LimitedDevice(FakeDevice(memory=10_000), None)
    device.allocate(9_000)
    assert device.memory_info().free == 1_000
    with pytest.raises(DeviceMemoryError):
        device.allocate(1_001)


def test_what_failed_or_had_nothing_to_be_compared_with_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, compared, alike = {"differing": None}, "64,96,96, allowance", {"differing": 0}
    report = {
        "64,96,96": alone, f"{compared} 8": {"failed": "of a sudden"}, f"{compared} 4": alike, f"{compared} 2": alone,
        "64,96,96, in a process": alone, "64,96,96, in a process, SIGKILL": alike,
        "64,96,96, in a process, SIGSTOP": alike,
    }  # fmt: skip
    (tmp_path / "limits.json").write_text(json.dumps(report))
    done: list[Any] = []

    def work(stand: Any, path: Path, given: Any) -> tuple[Detections, dict[str, Any]]:
        done.append(given)
        return Detections.empty(), {}

    stand = SimpleNamespace(bundle=Bundle.open("shrec12"), unit=1.0)
    for name, replaced in (("limited", work), ("in_a_process", work), ("rehearsal", lambda folder: stand),
                           ("write_volume", lambda path, *_: path.touch())):  # fmt: skip
        monkeypatch.setattr(gpu_limits, name, replaced)
    monkeypatch.setattr(sys, "argv", ["gpu_limits.py", "-o", str(tmp_path), "--rehearse"])
    for _ in range(2):
        gpu_limits.main()
        assert done == [None, 8.0, 2.0, None]  # with their references
        report = json.loads((tmp_path / "limits.json").read_text())
        assert [facts["differing"] for facts in report.values()] == [None, 0, 0, 0, None, 0, 0]


@pytest.mark.long
def test_the_rehearsal_finds_the_same_whatever_happens_and_does_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["gpu_limits.py", "-o", str(tmp_path), "--rehearse", "--allowance-gb", "8", "--allowance-gb", "4"]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu_limits.main()
    report = json.loads((tmp_path / "limits.json").read_text())
    assert len(report) == 6
    assert not any("failed" in facts for facts in report.values())
    assert all(facts["candidates"] > 1000 for facts in report.values())
    assert {facts["differing"] for facts in report.values()} == {None, 0}
    [killed] = report["64,96,96, in a process, SIGKILL"]["warnings"]
    assert killed.endswith("was killed by SIGKILL; a new one did the rest")
    [hung] = report["64,96,96, in a process, SIGSTOP"]["warnings"]
    assert "did nothing for" in hung
    monkeypatch.setattr(gpu_limits, "write_volume", None)
    gpu_limits.main()
