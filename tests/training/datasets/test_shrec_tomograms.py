from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.phantoms import CLASSES, SMALL

from picker_runtime.errors import InputError, UsageError
from picker_runtime.geometry import Box
from picker_training.augmentation import Augmentation, make_sample
from picker_training.config import AnnotatedSection, ModelSection, TrainingConfig
from picker_training.datasets import shrec_tomograms
from picker_training.datasets.annotated import AnnotatedPool, AnnotatedTomogram
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.templates import Template

PLAIN = Augmentation(crop=24, halo=4, turn_probability=0.0, int8_probability=0.0, half_turns=False, mirror=False)


def write_model(folder: Path, scene: Scene, *, below: int = 0, names: tuple[str, ...] = CLASSES) -> None:
    """Write a scene in SHREC layout, its reconstruction deeper than its masks by so many slices on both sides."""
    tomogram = np.pad(scene.tomogram(4.0), ((below, below), (0, 0), (0, 0)), mode="wrap")
    kinds = tuple(names[c] for c in scene.placements.class_ids)
    write_truth(
        folder, Truth(names=kinds, positions=scene.placements.positions), voxel_size=10.0,
        volumes={"reconstruction": tomogram, "occupancy_mask": scene.occupancy},
    )  # fmt: skip


@pytest.fixture(scope="module")
def scene(phantoms: list[Template]) -> Scene:
    return simulate(SMALL, phantoms, 3)


@pytest.fixture
def data_set(tmp_path: Path, scene: Scene) -> Path:
    for number in (0, 1, 2, 10):
        write_model(tmp_path / "set" / f"model_{number}", scene)
    return tmp_path / "set"


def config_for(data_set: Path, classes: tuple[str, ...] = CLASSES, **changes: object) -> TrainingConfig:
    section = replace(AnnotatedSection(shrec=str(data_set), validation="model_10"), **changes)
    return TrainingConfig(model=ModelSection(classes=classes), annotated=section)


def read_one(data_set: Path, config: TrainingConfig | None = None) -> AnnotatedTomogram:
    config = config or config_for(data_set)
    return shrec_tomograms.read_tomograms(config, ["model_0"], diameters(config))[0]


def diameters(config: TrainingConfig) -> dict[str, float]:
    return shrec_tomograms.mean_diameters(config, shrec_tomograms.mask_volumes(config, ["model_0"]))


def test_folders_are_taken_by_number(data_set: Path) -> None:
    (data_set / "notes").mkdir()
    assert shrec_tomograms.tomogram_names(data_set) == ["model_0", "model_1", "model_2", "model_10"]


def test_a_folder_without_tomograms_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="model_0, model_1"):
            shrec_tomograms.tomogram_names(folder)


def test_the_last_free_tomogram_validates(data_set: Path) -> None:
    section = shrec_tomograms.begin(data_set, year=0, validation=None, held_out=("model_10",))
    assert (section.validation, section.held_out) == ("model_2", ("model_10",))


@pytest.mark.parametrize(
    ("validation", "held_out"),
    [(None, ("model_7",)), ("model_7", ()), ("model_1", ("model_1",)), (None, ("model_0", "model_1", "model_2"))],
)
def test_what_cannot_be_held_out_is_refused(data_set: Path, validation: str | None, held_out: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="E80"):
        shrec_tomograms.begin(data_set, year=0, validation=validation, held_out=held_out)


def test_classes_are_those_of_the_lists_in_the_usual_order(tmp_path: Path, scene: Scene) -> None:
    write_model(tmp_path / "model_0", scene, names=("1BXN", "3cf3", "5MRC"))
    write_model(tmp_path / "model_1", scene, names=("4V94", "vesicle", "fiducial"))
    section = AnnotatedSection(shrec=str(tmp_path))
    assert shrec_tomograms.class_names(section) == ("3cf3", "1bxn", "5mrc", "fiducial")


def test_the_diameter_has_the_volume_of_the_mask(data_set: Path, scene: Scene) -> None:
    found = diameters(config_for(data_set))
    first = np.flatnonzero(scene.placements.class_ids == 0)
    volume = np.mean([(scene.occupancy == i + 1).sum() for i in first])
    assert found[CLASSES[0]] == pytest.approx(np.cbrt(6 / np.pi * volume) * 10.0, abs=0.06)


def test_positions_are_moved_into_the_reconstruction(tmp_path: Path, scene: Scene) -> None:
    for number in (0, 1):
        write_model(tmp_path / f"model_{number}", scene, below=12)
    tomogram = read_one(tmp_path, config_for(tmp_path))
    assert tomogram.known == Box((12, 0, 0), (44, 48, 48))
    assert np.allclose(tomogram.positions, scene.placements.positions + np.array([12, 0, 0]), atol=1e-3)
    part = tomogram.volume(tomogram.known)
    assert np.allclose(part.volume, scene.tomogram(4.0), atol=1e-5)
    assert np.allclose(part.positions, scene.placements.positions, atol=1e-3)


def test_samples_show_the_tomogram_around_its_particles(data_set: Path, scene: Scene) -> None:
    tomogram = read_one(data_set)
    whole = (scene.tomogram(4.0) - tomogram.intensity.center) / tomogram.intensity.scale
    seen = 0
    for seed in range(20):
        sample = make_sample(tomogram, PLAIN, np.random.default_rng(seed))
        assert sample.cube.shape == (24, 24, 24)
        for position, kind in zip(sample.positions, sample.class_ids, strict=True):
            offsets = tomogram.positions[tomogram.class_ids == kind] - position
            starts = np.rint(offsets).astype(int)[np.abs(offsets - np.rint(offsets)).max(axis=1) < 1e-3]
            inside = [s for s in starts if np.all(s >= 0) and np.all(s + 24 <= whole.shape)]
            expected = [np.clip(whole[tuple(slice(a, a + 24) for a in s)], -5, 5) for s in inside]
            seen += any(np.allclose(sample.cube, e, atol=1e-4) for e in expected)
    assert seen >= 10


def test_ignored_balls_move_with_the_crop_as_particles_do(data_set: Path) -> None:
    tomogram = read_one(data_set)
    radii = np.full((len(tomogram.positions), 1), 3.0)
    tomogram = replace(tomogram, ignored=np.hstack([tomogram.positions, radii]))
    samples = [tomogram.cut(PLAIN, np.random.default_rng(seed)) for seed in range(20)]
    assert sum(len(sample.positions) for sample in samples) >= 20
    for sample in samples:
        assert {*map(tuple, sample.positions.tolist())} <= {*map(tuple, sample.ignored[:, :3].tolist())}


def test_rare_classes_are_seen_as_often_as_others(data_set: Path) -> None:
    tomogram = read_one(data_set)
    one_rare = np.where(np.arange(len(tomogram.class_ids)) == 0, 1, 0).astype(np.int32)
    tomogram = replace(tomogram, class_ids=one_rare)
    rare = sum(
        1 in make_sample(tomogram, replace(PLAIN, crop=16), np.random.default_rng(seed)).class_ids
        for seed in range(60)
    )  # fmt: skip
    assert rare >= 15


def test_ignored_names_become_balls(data_set: Path, scene: Scene) -> None:
    config = config_for(data_set, CLASSES[1:], ignored=(CLASSES[0],))
    tomogram = read_one(data_set, config)
    first = scene.placements.class_ids == 0
    diameter = diameters(config)[CLASSES[0]]
    assert np.allclose(tomogram.ignored[:, :3], scene.placements.positions[first], atol=1e-3)
    assert np.allclose(tomogram.ignored[:, 3], diameter / 20.0)
    assert len(tomogram.positions) == np.sum(~first)
    counted = [make_sample(tomogram, PLAIN, np.random.default_rng(s)).ignored for s in range(20)]
    assert any(len(balls) for balls in counted)
    for balls in counted:
        assert np.all(balls[:, :3] > -balls[:, 3:]) and np.all(balls[:, :3] < 24 + balls[:, 3:])


def test_names_of_2021_are_those_known_here(tmp_path: Path, scene: Scene) -> None:
    write_model(tmp_path / "set/model_0", scene, names=("4V94_fixed", "1BXN", "vesicle"))
    write_model(tmp_path / "set/model_1", scene, names=("4V94", "1bxn", "vesicle"))
    assert shrec_tomograms.class_names(AnnotatedSection(shrec=str(tmp_path / "set"))) == ("1bxn",)


def test_a_pool_is_its_tomograms(data_set: Path) -> None:
    tomogram = read_one(data_set)
    pool = AnnotatedPool(tomograms=(tomogram, tomogram), seed=5)
    assert (pool.size, pool.seed, pool[1]) == (2, 5, tomogram)
