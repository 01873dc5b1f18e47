"""The command `picker-training baseline`, from files to files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from training.phantoms import write_phantoms

from picker_runtime.formats import read_named_picks
from picker_runtime.geometry import Box
from picker_runtime.mrc import write_mrc
from picker_runtime.tomogram import Tomogram
from picker_training import cli
from picker_training.baselines import picking
from picker_training.baselines.selection import Known
from picker_training.commands.baseline import Method
from picker_training.datasets.shrec import read_truth
from picker_training.simulation import write_scene
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.templates import load_templates

CLASSES = SHREC2020_CLASSES[:3]
MICROSCOPE = Microscope(tilts_degree=tuple(np.linspace(-50.0, 50.0, 11).tolist()), defocus_um=2.0)
OPTICS = ["--tilt-range", "-50", "50", "--tilts", "11", "--defocus", "2"]
SPEC = SceneSpec(shape=(32, 48, 48), particles=7, microscope=MICROSCOPE)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("templates"), CLASSES)


@pytest.fixture(scope="module")
def scenes(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two scenes as folders in SHREC layout."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in (1, 2):
        write_scene(folder / f"model_{seed}", simulate(SPEC, load_templates(templates, CLASSES), seed), 1.0)
    return [folder / "model_1", folder / "model_2"]


def arguments(method: str, scene: Path, templates: Path, output: Path, *options: str) -> list[str]:
    files = [method, str(scene / "reconstruction.mrc"), "--templates", str(templates), "-o", str(output)]
    return ["baseline", *files, *(o for name in CLASSES for o in ("--class", name)), "--device", "cpu", *options]


def f1(scene: Path, picks: Path, capsys: pytest.CaptureFixture[str]) -> tuple[float, float]:
    capsys.readouterr()
    rule = ["--rule", "distance", *(o for name in CLASSES for o in ("--diameter", f"{name}=90"))]
    assert cli.run(["evaluate", *rule, "--truth", str(scene), "--picks", str(picks), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    return score["f1"], score["mean_class_f1"]


def test_template_matching_calibrated_on_one_tomogram_finds_the_particles_of_another(
    scenes: list[Path], templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "picks.csv"
    options = [*OPTICS, "--rotations", "60", "--calibration", str(scenes[1])]
    command = arguments("template-matching", scenes[0], templates, output, *options)
    assert cli.run(command) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == list(CLASSES)
    assert printed.err.splitlines()[0].startswith("3cf3: block 1 of ")
    first = output.read_bytes()
    localisation, classes = f1(scenes[0], output, capsys)
    assert localisation > 0.6
    assert classes > 0.5
    assert {pick.tomogram for pick in read_named_picks(output)} == {"reconstruction"}
    assert cli.run(command) == 0  # nothing is matched again
    assert "block" not in capsys.readouterr().err
    assert output.read_bytes() == first


@pytest.mark.parametrize("method", ["log", "dog"])
def test_blobs_are_picked_too(
    method: str, scenes: list[Path], templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "picks.csv"
    assert cli.run(arguments(method, scenes[0], templates, output, "--calibration", str(scenes[1]))) == 0
    localisation, _ = f1(scenes[0], output, capsys)
    assert localisation > 0.4
    assert [path.name for path in tmp_path.iterdir()] == ["picks.csv"]


def test_a_calibration_knows_the_slab_of_a_deeper_reconstruction(
    scenes: list[Path], templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in real data sets: slices above and below the slab of the truth, names in upper case, in the list of 2019."""
    deeper, truth = tmp_path / "model_3", read_truth(scenes[1])
    shutil.copytree(scenes[1], deeper)
    with Tomogram.open(deeper / "reconstruction.mrc") as tomogram:
        values = tomogram.read(Box.whole(tomogram.shape))
    write_mrc(deeper / "reconstruction.mrc", np.pad(values, ((6, 6), (0, 0), (0, 0)), mode="wrap"), 10.0)
    listed = deeper / "particle_locations.txt"
    rows = [line.split() for line in listed.read_text().upper().splitlines()]
    text = "".join(f"{name} {z} {y} {x} {' '.join(rest)}\n" for name, x, y, z, *rest in rows)
    (deeper / "particle_locations_model_3.txt").write_text(text)
    listed.unlink()
    tuned: list[Known] = []
    monkeypatch.setattr(picking, "tune_thresholds", lambda known, *_: tuned.extend(known) or np.full(3, 0.5))
    assert cli.run(arguments("log", scenes[0], templates, tmp_path / "p.csv", "--calibration", str(deeper))) == 0
    (known,) = tuned
    np.testing.assert_array_equal(known.positions, truth.positions + np.array([6.0, 0.0, 0.0]))
    assert known.class_ids.tolist() == [CLASSES.index(name) for name in truth.names]
    z = known.candidates.positions[:, 0]
    assert z.min() >= 6 and z.max() <= 5 + SPEC.shape[0]


def test_a_calibration_without_a_particle_of_the_classes_is_refused(
    scenes: list[Path], templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(scenes[1], tmp_path / "model_3")
    listed = tmp_path / "model_3/particle_locations.txt"
    listed.write_text("".join(f"other {line.split(' ', 1)[1]}\n" for line in listed.read_text().splitlines()))
    command = arguments("log", scenes[0], templates, tmp_path / "p.csv", "--calibration", str(tmp_path / "model_3"))
    assert cli.run(command) == 3
    assert "E46 model_3: lists no particle of " in capsys.readouterr().err


def test_a_higher_threshold_leaves_the_best_picks(scenes: list[Path], templates: Path, tmp_path: Path) -> None:
    output = tmp_path / "picks.csv"
    assert cli.run(arguments("log", scenes[0], templates, output, "--threshold", "0.3")) == 0
    many = read_named_picks(output)
    assert cli.run(arguments("log", scenes[0], templates, output, "--threshold", "0.5")) == 0
    few = read_named_picks(output)
    assert 0 < len(few) < len(many)
    assert [pick[1:] for pick in few] == [pick[1:] for pick in many if pick.score >= 0.5]


def test_impossible_tilts_are_refused(
    scenes: list[Path], templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--tilt-range", "60", "-60"]
    assert cli.run(arguments("template-matching", scenes[0], templates, tmp_path / "p.csv", *options)) == 2
    assert "E80 --tilt-range: 60 to -60 degrees" in capsys.readouterr().err


def test_a_calibration_of_another_voxel_size_is_refused(
    scenes: list[Path], templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--calibration", str(scenes[1]), "--voxel-size", "12"]
    assert cli.run(arguments("log", scenes[0], templates, tmp_path / "p.csv", *options)) == 2
    assert "E80 --calibration: its voxel size is 10 A, the tomogram's 12 A" in capsys.readouterr().err


def test_voxels_that_are_not_finite_are_the_median(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, (20, 20, 20)).astype(np.float32)
    values[3, 4, 5] = np.nan
    write_mrc(tmp_path / "one.mrc", values, 10.0)
    volume = picking.read_volume(tmp_path / "one.mrc")
    assert float(volume.values[3, 4, 5]) == 0.0
    assert abs(float(volume.values.median())) < 0.01
    assert float(volume.values.std()) == pytest.approx(1.0, abs=0.05)
    assert volume.voxel_size == 10.0


def test_the_command_line_offers_every_method() -> None:
    assert [method.value for method in Method] == list(picking.METHODS)
