import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training.phantoms import SMALL, write_phantoms

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box
from picker_runtime.tomogram import Tomogram
from picker_training import cli, simulation
from picker_training.datasets.shrec import read_class_mask, read_occupancy_mask, read_truth
from picker_training.simulation import choose_seeds, find_preset, write_scenes, zxz_angles
from picker_training.simulator.faithful.presets import SHREC2021
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES, Preset
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.specimen import Placements, random_rotations
from picker_training.simulator.templates import load_templates

SHAPE = (48, 64, 64)
LOADED_ONCE = functools.cache(load_templates)


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("templates"), (*SHREC2020_CLASSES, "1f4a", "5mrc"))


@pytest.fixture(autouse=True)
def small_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(SMALL, shape=SHAPE, particles=12, strangers=1)
    preset = Preset(spec=spec, seeds=(1, 2), snrs=(0.5, 0.05), strangers=("1f4a",))
    faithful = replace(
        SHREC2021, particles=(7, 7), depth=48, field=64, breadth=96, margin=8, tilts_degree=(-60.0, -20.0, 20.0, 60.0),
        vesicles=(1, 1), gold=(2, 2), vesicle_diameter_angstrom=(100.0, 120.0),
    )  # fmt: skip
    monkeypatch.setattr(simulation, "PRESETS", {"tiny": preset})
    monkeypatch.setattr(simulation, "FAITHFUL_PRESETS", {"tiny2021": faithful})
    monkeypatch.setattr(simulation, "load_templates", LOADED_ONCE)


def turned(axis: int, degree: np.ndarray) -> np.ndarray:
    """Return rotations `(n, 3, 3)` in xyz about x (0) or z (2)."""
    angle = np.deg2rad(degree)
    out = np.tile(np.eye(3), (len(angle), 1, 1))
    a, b = [i for i in range(3) if i != axis]
    out[:, a, a] = out[:, b, b] = np.cos(angle)
    out[:, b, a] = np.sin(angle)
    out[:, a, b] = -np.sin(angle)
    return out


def test_simulate_writes_tomograms_with_their_truth(
    templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preset", "tiny", "--templates", str(templates), "-o", str(tmp_path), "--seed", "1"]
    assert cli.run(["simulate", *arguments, "--device", "cpu"]) == 0
    folders = [tmp_path / "model_1_snr0.5", tmp_path / "model_1_snr0.05"]
    assert capsys.readouterr().out.split() == [str(folder) for folder in folders]
    assert sorted(tmp_path.iterdir()) == sorted(folders)
    truth = read_truth(folders[0])
    occupancy, classes = read_occupancy_mask(folders[0], truth), read_class_mask(folders[0])
    assert len(truth) > 0
    assert set(truth.names) <= set(SHREC2020_CLASSES)
    for number, (name, position) in enumerate(zip(truth.names, truth.positions, strict=True), start=1):
        voxel = tuple(np.round(position).astype(int))
        assert occupancy[voxel] == number
        assert classes[voxel] == SHREC2020_CLASSES.index(name) + 1
    with Tomogram.open(folders[0] / "reconstruction.mrc") as tomogram:
        assert tomogram.shape == SHAPE
        assert tomogram.voxel_size == 10.0


def test_the_truth_scores_one(templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = write_scenes("tiny", templates, tmp_path, seeds=[1], snrs=[0.5], device="cpu")
    truth = read_truth(folder)
    lines = (f"{n} {x} {y} {z}" for n, (z, y, x) in zip(truth.names, truth.positions, strict=True))
    (tmp_path / "picks.txt").write_text("\n".join(lines) + "\n")
    options = ["--rule", "shrec2020", "--truth", str(folder), "--picks", str(tmp_path / "picks.txt"), "--json"]
    assert cli.run(["evaluate", *options]) == 0
    assert '"f1": 1.0' in capsys.readouterr().out


def test_seeds_and_snrs_are_the_preset_s_unless_given(templates: Path, tmp_path: Path) -> None:
    names = [path.name for path in write_scenes("tiny", templates, tmp_path, device="cpu")]
    assert names == ["model_1_snr0.5", "model_1_snr0.05", "model_2_snr0.5", "model_2_snr0.05"]
    names = [path.name for path in write_scenes("tiny", templates, tmp_path, seeds=[7], snrs=[0.2], device="cpu")]
    assert names == ["model_7_snr0.2"]


def test_each_folder_holds_its_scene_at_the_snr_of_its_name(templates: Path, tmp_path: Path) -> None:
    read = {}
    for folder in write_scenes("tiny", templates, tmp_path, seeds=[1], device="cpu"):
        with Tomogram.open(folder / "reconstruction.mrc") as tomogram:
            read[folder.name] = tomogram.read(Box.whole(tomogram.shape))
    clear, noisy = read["model_1_snr0.5"], read["model_1_snr0.05"]
    noise = (noisy - clear) / (0.05**-0.5 - 0.5**-0.5)  # T = S + N sqrt(var S / SNR), N of unit variance
    signal = clear - noise * 0.5**-0.5
    assert signal.std() == pytest.approx(noise.std(), rel=0.1)  # a stranger is no part of var S


def test_the_strangers_of_a_contaminated_preset_are_simulated(
    templates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = replace(PRESETS["bench12-contaminated"], spec=find_preset("tiny").spec)  # type: ignore[union-attr]
    monkeypatch.setattr(simulation, "PRESETS", {"contaminated": preset})
    calls: list[dict[str, Any]] = []

    def spied(*given: Any, **options: Any) -> Scene:
        calls.append(options)
        return simulate(*given, **options)

    monkeypatch.setattr(simulation, "simulate", spied)
    list(write_scenes("contaminated", templates, tmp_path, seeds=[1], snrs=[0.5], device="cpu"))
    assert [[template.name for template in options["strangers"]] for options in calls] == [["1f4a"]]


@pytest.mark.parametrize(
    ("seeds", "count", "expected"),
    [(None, None, [1, 2]), (None, 3, [1, 2, 3]), ([7], 2, [7, 8]), ([7, 8, 20], 2, [7, 8, 9, 20, 21])],
)
def test_every_seed_begins_a_run_of_seeds(seeds: list[int] | None, count: int | None, expected: list[int]) -> None:
    assert choose_seeds(find_preset("tiny"), seeds, count) == expected


def test_faithful_scenes_have_all_of_the_layout(
    templates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--preset", "tiny2021", "--templates", str(templates), "-o", str(tmp_path), "--count", "1", "--fast"]
    assert cli.run(["simulate", *arguments, "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    folder = tmp_path / "model_0"
    assert printed.out.split() == [str(folder)]
    assert "image 4 of 4" in printed.err
    volumes = ("reconstruction", "grandmodel", "class_mask", "occupancy_mask", "occupancy_mask_open", "class_bbox",
               "occupancy_bbox")  # fmt: skip
    others = ("particle_locations.txt", "scene.json")
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(f"{v}.mrc" for v in volumes), *others])
    truth = read_truth(folder)
    occupancy, classes = read_occupancy_mask(folder, truth), read_class_mask(folder)
    assert truth.names[-3:] == ("vesicle", "fiducial", "fiducial")
    for number, (name, position) in enumerate(zip(truth.names, truth.positions, strict=True), start=1):
        assert np.all(classes[occupancy == number] == SHREC2021.class_numbers[name])
        if name != "vesicle":
            assert occupancy[tuple(np.round(position).astype(int))] == number
    assert cli.run(["fidelity", str(folder), "-o", str(tmp_path / "report")]) == 0
    report = capsys.readouterr().out
    assert "| figure | model_0 (tiny2021) | published 2019" in report
    assert "| fiducials | 2 |  |  | 7 to 14 |" in report
    assert "4d8q and 5mrc exist as maps of 10 A only" in report
    assert sorted(path.suffix for path in (tmp_path / "report").iterdir()) == [".md", ".png", ".png"]


def test_fast_is_for_faithful_presets_only(templates: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no slower way"):
        list(write_scenes("tiny", templates, tmp_path, fast=True, device="cpu"))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError, match="give one of tiny") as caught:
        find_preset("bench13")
    assert caught.value.code == 80


@pytest.mark.parametrize("upright", [False, True])
def test_angles_give_back_the_rotation(upright: bool) -> None:
    if upright:  # z stays z or is turned upside down, where two of the angles turn about the same axis
        about_z = turned(2, np.array([0.0, 30.0, 170.0, -90.0, 45.0]))
        rotations = about_z @ turned(0, np.array([0.0, 0.0, 180.0, 180.0, 0.0]))
    else:
        rotations = random_rotations(50, np.random.default_rng(0))[:, ::-1, ::-1]
    n = len(rotations)
    placements = Placements(
        class_ids=np.zeros(n, np.int32), positions=np.zeros((n, 3)), rotations=rotations[:, ::-1, ::-1]
    )
    a, b, c = zxz_angles(placements).T
    assert turned(2, c) @ turned(0, b) @ turned(2, a) == pytest.approx(rotations, abs=1e-6)
