"""What a process loads: `--help` nothing heavy, `detect` no PyTorch; measured by the modules, not by the clock."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle, volume_with_blobs

from picker_runtime.mrc import write_mrc

HEAVY = {"numpy", "openvino", "onnxruntime", "torch", "onnx", "scipy"}
TRAINING = {"torch", "onnx", "onnxscript", "safetensors", "gemmi", "picker_training", "picker_export"}
SPY = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))  # None: importing one of these fails
from picker_runtime.cli import app
from picker_runtime.console import run
status = run(app, "picker-runtime", sys.argv[3:])
with open(sys.argv[2], "w") as stream:
    json.dump([status, sorted(m for m in sys.modules if sys.modules[m] is not None)], stream)
"""


def modules_of(arguments: list[str], folder: Path, *, absent: set[str] = frozenset()) -> tuple[int, set[str]]:
    """Run a command line in a fresh process; return its exit status and the top-level modules it loaded."""
    report = folder / "modules.json"
    command = [sys.executable, "-c", SPY, json.dumps(sorted(absent)), str(report), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    status, modules = json.loads(report.read_text())
    return status, {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["detect", "--help"], ["--version"], ["detect", "--print-config", "a"]]
)
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    status, modules = modules_of(arguments, tmp_path)
    assert status == 0
    assert modules & HEAVY == set()


def test_detect_works_where_the_training_packages_are_absent(tmp_path: Path) -> None:
    model = golden_bundle(tmp_path / "golden")
    write_mrc(tmp_path / "one.mrc", volume_with_blobs((32, 40, 40), [(16, 20, 20)]), 10.0)
    arguments = ["detect", str(tmp_path / "one.mrc"), "-o", str(tmp_path / "picks"), "--model", str(model)]
    status, modules = modules_of(arguments, tmp_path, absent=TRAINING)
    assert status == 0
    assert (tmp_path / "picks/one.csv").read_text().count("\n") == 2
    assert "openvino" in modules
    assert modules & TRAINING == set()
