import csv
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from training.datasets.test_shrec_tomograms import write_model
from training.phantoms import SMALL

from picker_training import cli
from picker_training.anchors import choose_anchors, sizes_of_data_set
from picker_training.config import ModelSection, TrainingConfig, dump_config
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import Template

SHREC2020_VOXELS = [12.90, 5.37, 9.89, 18.31, 14.10, 8.66, 9.10, 5.82, 6.91, 9.91, 16.40, 12.32]
"""Diameters of the templates of the twelve classes, at 10 A, as the command prints them."""


def distance(sizes: NDArray[np.float64], counts: NDArray[np.float64], anchors: NDArray[np.float64]) -> float:
    ratio = sizes[:, None] / anchors
    return float((counts * (1.0 - np.minimum(ratio, 1.0 / ratio).max(axis=1) ** 3)).sum())


def test_the_default_anchors_are_those_of_shrec_2020() -> None:
    chosen = choose_anchors(np.array(SHREC2020_VOXELS), np.ones(12), 3)
    assert tuple(np.round(chosen, 1)) == TrainingConfig().paper.anchors


def test_by_hand() -> None:
    chosen = choose_anchors(np.array([20.0, 4.0, 5.0, 10.0]), np.array([2.0, 3.0, 1.0, 1.0]), 3)
    assert chosen.tolist() == [4.25, 10.0, 20.0]


@given(st.lists(st.tuples(st.floats(3.0, 30.0), st.integers(1, 50)), min_size=3, max_size=7), st.integers(1, 3))
@settings(max_examples=60)
def test_no_other_cut_is_better(classes: list[tuple[float, int]], number: int) -> None:
    sizes, counts = (np.array(values, np.float64) for values in zip(*sorted(classes), strict=True))
    chosen = choose_anchors(sizes, counts, number)
    assert np.all(np.diff(chosen) >= -1e-9)
    for cuts in combinations(range(1, len(sizes)), number - 1):
        parts = np.split(np.arange(len(sizes)), cuts)
        other = np.array([np.average(sizes[p], weights=counts[p]) for p in parts])
        costs = [distance(sizes[p], counts[p], other[i : i + 1]) for i, p in enumerate(parts)]
        assert distance(sizes, counts, chosen) <= sum(costs) + 1e-9


def printed(capsys: pytest.CaptureFixture[str]) -> list[float]:
    found = re.fullmatch(r"\[paper\]\nanchors = \[(.*)\]\n", capsys.readouterr().out)
    assert found is not None
    return [float(text) for text in found[1].split(",")]


def test_from_templates(
    phantom_folder: Path, phantoms: list[Template], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainingConfig(
        model=ModelSection(name="tiny", classes=tuple(t.name for t in phantoms), voxel_size_angstrom=8.0)
    )
    (tmp_path / "config.toml").write_text(dump_config(config))
    arguments = ["anchors", "--templates", str(phantom_folder), "--config", str(tmp_path / "config.toml")]
    assert cli.run(arguments) == 0
    assert printed(capsys) == sorted(round(t.diameter_angstrom / 8.0, 1) for t in phantoms)
    assert cli.run([*arguments, "-k", "4"]) == 2
    assert "3 sizes" in capsys.readouterr().err


def test_from_a_data_set(phantoms: list[Template], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        write_model(tmp_path / f"set/model_{number}", simulate(SMALL, phantoms, number), below=8)
    assert cli.run(["anchors", "--shrec", str(tmp_path / "set"), "-k", "1"]) == 0
    (anchor,) = printed(capsys)
    sizes = sizes_of_data_set(tmp_path / "set", TrainingConfig(), year=0)
    assert sum(count for _, count in sizes.values()) == 2 * SMALL.particles
    diameters, counts = zip(*sizes.values(), strict=True)
    assert anchor == pytest.approx(np.average(diameters, weights=counts) / 10.0, abs=0.06)


HEADER = ["tomogram", "class", "score", "x", "y", "z", "x_angstrom", "y_angstrom", "z_angstrom", "diameter_angstrom"]


def write_picks(path: Path, diameters: list[tuple[str, float]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows(["t", name, 0.9, 1, 1, 1, 10, 10, 10, diameter] for name, diameter in diameters)
    return path


def test_from_picks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_picks(tmp_path / "t.csv", [("a", 60.0), ("a", 60.0), ("a", 66.0), ("b", 150.0)])
    assert cli.run(["anchors", "--picks", str(path), "-k", "2"]) == 0
    assert printed(capsys) == [6.2, 15.0]


def test_picks_without_diameters_have_no_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_picks(tmp_path / "t.csv", [("a", 60.0), ("a", 0.0)])
    assert cli.run(["anchors", "--picks", str(path), "-k", "1"]) == 2
    assert "line 3: no diameter" in capsys.readouterr().err


def test_sizes_come_from_one_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["anchors"]) == 2
    assert cli.run(["anchors", "--picks", str(tmp_path), "--templates", str(tmp_path)]) == 2
    assert "one place" in capsys.readouterr().err
