"""What `make detect` does, without the bundled model: detect, then score the picks against a truth, without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from golden.blob_graph import CLASSES
from integration.command_line import SHAPE, picker, tomogram

from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth

EVALUATE = """
import sys
sys.modules.update(dict.fromkeys(["torch", "onnx", "safetensors", "gemmi"]))  # None: importing one of these fails
from picker_training.cli import main
main()
"""


def test_picks_of_every_particle_score_one(tmp_path: Path, golden_model: Path) -> None:
    positions = tomogram(tmp_path / "one.mrc")
    detected = picker("detect", tmp_path / "one.mrc", "-o", tmp_path / "picks", "--model", golden_model)
    assert detected.status == 0
    occupancy = np.zeros(SHAPE, np.int16)
    grid = np.indices(SHAPE).reshape(3, -1).T
    for number, position in enumerate(positions, start=1):
        occupancy.reshape(-1)[np.linalg.norm(grid - position, axis=1) < 3] = number
    truth = Truth(names=(CLASSES[0][0],) * len(positions), positions=positions)
    write_truth(tmp_path / "truth", truth, voxel_size=10.0, volumes={"occupancy_mask": occupancy}, compress=True)
    options = ["--picks", str(tmp_path / "picks/one.csv"), "--truth", str(tmp_path / "truth"), "--json"]
    command = [sys.executable, "-c", EVALUATE, "evaluate", "--rule", "shrec2020", *options]
    score = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)
    assert score["f1"] == 1
    assert score["tp"] == len(positions)
