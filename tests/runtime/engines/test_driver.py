import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from picker_runtime.engines.driver import Driver, Gpu, ask_driver
from picker_runtime.engines.driver_query import MAJOR, query

H200 = {"name": "NVIDIA H200", "compute_capability": [9, 0], "memory": 150_000_000_000}


class FakeCuda:
    """Stands for the driver's library: answers through pointers, as it does; `failing` calls return their number."""

    def __init__(self, *, count: int = 2, failing: dict[str, int] | None = None) -> None:
        self.count, self.failing = count, failing or {}

    def __getattr__(self, call: str) -> Any:
        def answer(*arguments: Any) -> int:
            if call in self.failing:
                return self.failing[call]
            method = getattr(type(self), f"_{call}", None)
            if method is not None:
                method(self, *arguments)
            return 0

        return answer

    def _cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = self.count

    def _cuDriverGetVersion(self, version: Any) -> None:  # noqa: N802
        version._obj.value = 13010

    def _cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        device._obj.value = 10 + index

    def _cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> None:  # noqa: N802
        name.value = f"GPU {device.value}".encode()[: size - 1]

    def _cuDeviceTotalMem_v2(self, nbytes: Any, device: ctypes.c_int) -> None:  # noqa: N802
        nbytes._obj.value = 2**34 + device.value

    def _cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> None:  # noqa: N802
        value._obj.value = 8 if attribute == MAJOR else 6


def python(program: str) -> tuple[str, ...]:
    return sys.executable, "-c", program


def test_the_query_describes_every_gpu() -> None:
    gpus = [{"name": f"GPU {n}", "compute_capability": [8, 6], "memory": 2**34 + n} for n in (10, 11)]
    assert query(FakeCuda()) == {"cuda": 13010, "gpus": gpus}


@pytest.mark.parametrize(
    ("failing", "problem"),
    [({"cuInit": 100}, "the driver finds no GPU"), ({"cuInit": 999}, "the driver fails: cuInit gives error 999"),
     ({"cuDeviceGetName": 3}, "the driver fails: cuDeviceGetName gives error 3")],
)  # fmt: skip
def test_the_query_names_the_call_that_fails(failing: dict[str, int], problem: str) -> None:
    assert query(FakeCuda(failing=failing)) == {"problem": problem}


def test_without_the_driver_s_files_nothing_is_asked(tmp_path: Path) -> None:
    trace = tmp_path / "asked"
    found = ask_driver([tmp_path / "nvidiactl"], python(f"open({str(trace)!r}, 'w')"))
    assert not trace.exists()
    assert (found.problem, found.gpus, found.seen) == ("no NVIDIA driver here", (), False)
    assert found.fix


def test_an_answer_becomes_gpus(tmp_path: Path) -> None:
    found = ask_driver([tmp_path], python(f"print('''{json.dumps({'cuda': 13000, 'gpus': [H200]})}''')"))
    assert found.gpus == (Gpu(index=0, name="NVIDIA H200", compute_capability=(9, 0), memory=150_000_000_000),)
    assert (found.cuda, found.problem, found.seen) == (13000, "", True)
    assert str(found.gpus[0]) == "NVIDIA H200 (compute capability 9.0, 140 GiB)"
    assert str(Driver(cuda=12080, version="570.1")) == "driver 570.1 for CUDA 12.8"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ('print(\'{"cuda": 13000, "gpus": []}\')', "the driver finds no GPU"),
        ('print(\'{"problem": "it is broken"}\')', "it is broken"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the driver's query was killed by signal 11"),
        ("raise SystemExit(3)", "the driver's query ended with 3"),
        ("print('no json')", "the driver cannot be asked"),
        ("print('{\"cuda\": 13000}')", "the driver cannot be asked"),
    ],
)
def test_a_broken_driver_is_a_problem_and_no_crash(program: str, problem: str, tmp_path: Path) -> None:
    found = ask_driver([tmp_path], python(program))
    assert found.problem.startswith(problem)
    assert found.gpus == ()
    assert found.seen
    assert found.fix


def test_a_driver_that_hangs_is_given_up(tmp_path: Path) -> None:
    found = ask_driver([tmp_path], python("import time; time.sleep(60)"), patience=0.3)
    assert "does not answer" in found.problem


def test_a_query_that_cannot_be_started_is_a_problem(tmp_path: Path) -> None:
    assert "cannot be asked" in ask_driver([tmp_path], [str(tmp_path / "absent")]).problem
