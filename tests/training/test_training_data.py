"""What a run learns from, what judges it and what chooses its thresholds are told apart, tomogram by tomogram."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from training import shrec_set
from training.labelled import SHAPE, Labelled, labelled
from training.phantoms import CLASSES

from picker_runtime.geometry import Box
from picker_runtime.mrc import MrcFile
from picker_training import training_data
from picker_training.config import DataSection, ModelSection, TrainingConfig
from picker_training.datasets.annotated import AnnotatedPool, AnnotatedVolume
from picker_training.training_data import TrainingData, calibration_volumes

CONFIG = TrainingConfig(model=ModelSection(name="tiny", classes=CLASSES), data=DataSection(crop=24, halo=4))
SMALL_BLOCKS = (200, 30, 20)


def opened(config: TrainingConfig) -> tuple[TrainingData, AnnotatedPool]:
    data = training_data.open_data(Path("unused"), config, None, torch.device("cpu"))
    assert isinstance(data.pool, AnnotatedPool)
    return data, data.pool


def picked(folder: Path, counts: dict[str, int], **changes: object) -> tuple[TrainingConfig, Labelled]:
    """Return a configuration that trains on one's own tomograms with the first so many places picked in each."""
    data = labelled(folder, names=tuple(counts))
    for name, count in counts.items():
        data.write(data.places[:count], name=name, tomogram=name)
    section = replace(data.section, diameters=("ball=60",), **changes)  # type: ignore[arg-type]
    return replace(CONFIG, model=ModelSection(name="tiny", classes=("ball",)), picks=section), data


def read(path: Path) -> NDArray[np.float32]:
    with MrcFile(path) as file:
        return file.read(Box.whole(file.header.shape)).astype(np.float32)


def boxes_of(blocks: Sequence[AnnotatedVolume], whole: NDArray[np.float32]) -> list[Box]:
    """Return where in a tomogram each block was cut out, by its voxels."""
    return [_box_of(block.volume, whole) for block in blocks]


def _box_of(block: NDArray[np.float32], whole: NDArray[np.float32]) -> Box:
    for z, y, x in np.argwhere(whole == block[0, 0, 0]).tolist():
        box = Box((z, y, x), (z + block.shape[0], y + block.shape[1], x + block.shape[2]))
        if np.array_equal(whole[box.slices], block):
            return box
    raise AssertionError("a block of another tomogram")


def in_order(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    return positions[np.lexsort(positions.T)]


def together(blocks: Sequence[AnnotatedVolume], boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return the particles of all blocks in voxels of their tomogram, in order."""
    return in_order(np.vstack([block.positions + box.start for block, box in zip(blocks, boxes, strict=True)]))


def test_neither_the_judging_nor_the_held_out_tomogram_of_a_data_set_is_learnt(tmp_path: Path) -> None:
    places = shrec_set.write_set(tmp_path)
    data, pool = opened(replace(CONFIG, annotated=replace(shrec_set.ANNOTATED, shrec=str(tmp_path))))
    assert [tomogram.path.parent.name for tomogram in pool.tomograms] == ["model_0"]
    assert np.allclose(pool.tomograms[0].positions, places["model_0"])
    assert np.allclose(data.validation.positions, places["model_1"])


def test_the_judging_one_of_ones_own_tomograms_is_not_learnt(tmp_path: Path) -> None:
    config, own = picked(tmp_path, {"one": 9, "two": 7, "three": 5}, validation="two")
    data, pool = opened(config)
    assert {t.path.stem: len(t.positions) for t in pool.tomograms} == {"one": 9, "three": 5}
    assert np.allclose(in_order(data.validation.positions), in_order(own.places[:7]), atol=0.01)
    assert np.array_equal(data.validation.volume, read(own.tomograms / "two.mrc"))


def test_thresholds_are_chosen_on_the_judging_tomogram_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", SMALL_BLOCKS)
    places = shrec_set.write_set(tmp_path)
    blocks = calibration_volumes(replace(CONFIG, annotated=replace(shrec_set.ANNOTATED, shrec=str(tmp_path))), None)
    boxes = boxes_of(blocks, read(tmp_path / "model_1/reconstruction.mrc"))
    assert len(boxes) > 1
    assert np.allclose(together(blocks, boxes), in_order(places["model_1"]))


def test_thresholds_are_chosen_on_the_judging_one_of_ones_own_tomograms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", SMALL_BLOCKS)
    config, own = picked(tmp_path, {"one": 9, "two": 7, "three": 5}, validation="two")
    blocks = calibration_volumes(config, None)
    boxes = boxes_of(blocks, read(own.tomograms / "two.mrc"))
    assert len(boxes) > 1
    assert np.allclose(together(blocks, boxes), in_order(own.places[:7]), atol=0.01)


def test_an_only_tomogram_is_judged_where_it_is_not_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "CALIBRATION_SHAPE", SMALL_BLOCKS)
    config, own = picked(tmp_path, {"one": 30})
    whole = read(own.tomograms / "one.mrc")
    data, pool = opened(config)
    blocks = calibration_volumes(config, None)
    (learnt,) = pool.tomograms
    for box in boxes_of([*blocks, data.validation], whole):
        assert learnt.known.intersection(box).voxels == 0
    assert 4 * sum(block.volume.size for block in blocks) == whole.size
    assert sum(len(block.positions) for block in blocks) > 0


def test_a_border_is_left_out_along_its_own_axes(tmp_path: Path) -> None:
    config, _ = picked(tmp_path, {"one": 9, "two": 7}, validation="two", border=(3, 5, 7))
    data, pool = opened(config)
    depth, height, width = SHAPE
    assert pool.tomograms[0].known == Box((3, 5, 7), (depth - 3, height - 5, width - 7))
    assert data.validation.volume.shape == (depth - 6, height - 10, width - 14)
