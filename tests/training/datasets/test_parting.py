"""Which part of a run's only tomogram is held back to judge it: what is there counts, and nothing is learnt near it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity
from picker_runtime.mrc import write_mrc
from picker_training.augmentation import FILL
from picker_training.datasets.annotated import AnnotatedTomogram
from picker_training.datasets.parting import hold_back

CLASSES = ("a", "b")


def alone(positions: np.ndarray, class_ids: np.ndarray, known: Box) -> AnnotatedTomogram:
    return AnnotatedTomogram(
        path=Path("one.mrc"), voxel_size=10.0, intensity=Intensity(center=0, scale=1, non_finite_fraction=0, fill=None),
        known=known, positions=positions, class_ids=class_ids.astype(np.int32), ignored=np.zeros((0, 4)),
    )  # fmt: skip


@given(
    shape=st.tuples(st.integers(16, 80), st.integers(64, 300), st.integers(64, 300)), seed=st.integers(0, 1000),
    start=st.tuples(*[st.integers(0, 20)] * 3), halo=st.integers(0, 8),
)  # fmt: skip
def test_what_is_held_back_is_never_seen_in_training(
    shape: tuple[int, int, int], seed: int, start: tuple[int, int, int], halo: int
) -> None:
    rng = np.random.default_rng(seed)
    z, y, x = (a + n for a, n in zip(start, shape, strict=True))
    known = Box(start, (z, y, x))
    positions = start + rng.uniform(0, np.array(shape) - 1, (80, 3))
    training, block = hold_back(alone(positions, rng.integers(0, 2, 80), known), CLASSES, halo=halo)
    reach = halo + FILL
    assert training.known.grown(reach).intersection(block.known).voxels == 0
    assert not block.known.contains(training.positions).any()
    assert known.intersection(block.known) == block.known
    assert block.known.voxels <= known.voxels / 4
    assert training.known.voxels + block.known.voxels >= known.voxels * (1 - reach / 64) - known.voxels / 64


def test_the_quarter_is_where_every_class_is_seen() -> None:
    positions = np.array([[20.0, y, 60.0] for y in (10, 20, 60, 70, 90, 95, 100, 110)])
    classes = np.array([0, 0, 0, 1, 1, 0, 0, 0])  # the quarter below 30 holds a quarter of them, all of one class
    tomogram = alone(positions, classes, Box.whole((40, 120, 120)))
    _, block = hold_back(tomogram, CLASSES, halo=4)
    assert block.known == Box((0, 90, 0), (40, 120, 120))


def clustered(count: int, *, low: int, high: int, seed: int = 0) -> np.ndarray:
    """Return places between two voxels of y and x, in a slab of 40."""
    rng = np.random.default_rng(seed)
    return rng.uniform((5, low, low), (35, high, high), (count, 3))


def test_the_only_label_of_a_class_is_learnt_not_held_back() -> None:
    """One class spreads over all quarters; the other's only label lies in that which holds most nearly a quarter."""
    spread = np.array([[20.0, y, x] for y in (10, 40, 80, 110) for x in (10, 40, 80, 110)])
    places = np.vstack([spread, spread[:4] + 2, [[20.0, 112.0, 60.0]]])
    for rare in ([20.0, 112.0, 60.0], [20.0, 8.0, 60.0], [20.0, 60.0, 112.0], [20.0, 60.0, 8.0]):
        places[-1] = rare
        classes = np.append(np.zeros(len(places) - 1), 1)
        training, block = hold_back(alone(places, classes, Box.whole((40, 120, 120))), CLASSES, halo=4)
        assert training.known.contains(places[-1:]).all()
        assert block.known.contains(places).any()


def test_some_distractors_are_shown_where_classes_leave_the_choice() -> None:
    spread = np.array([[20.0, y, x] for y in (10, 40, 80, 110) for x in (10, 40, 80, 110)])
    for corner in ([20.0, 115.0, 60.0], [20.0, 5.0, 60.0], [20.0, 60.0, 115.0], [20.0, 60.0, 5.0]):
        tomogram = replace(alone(spread, np.zeros(16), Box.whole((40, 120, 120))), distractors=np.array([corner] * 3))
        training, _ = hold_back(tomogram, CLASSES[:1], halo=4)
        assert len(training.distractors) == 3


def masked(folder: Path, shape: tuple[int, int, int], *, low: int, high: int) -> Path:
    """Write a mask of all but what lies between two voxels of y and x."""
    mask = np.ones(shape, np.int8)
    mask[:, low:high, low:high] = 0
    write_mrc(folder / "mask.mrc", mask, 10.0)
    return folder / "mask.mrc"


def test_what_is_annotated_in_the_middle_alone_is_parted_there(tmp_path: Path) -> None:
    """Labels beyond the mask, of which there are a few at every end, can judge nothing."""
    shape = (40, 200, 200)
    inside, beyond = clustered(30, low=70, high=130), clustered(400, low=0, high=199)
    beyond = beyond[np.any((beyond[:, 1:] < 69) | (beyond[:, 1:] > 131), axis=1)]
    tomogram = alone(np.vstack([inside, beyond]), np.zeros(30 + len(beyond)), Box.whole(shape))
    tomogram = replace(tomogram, unlabelled=masked(tmp_path, shape, low=70, high=130))
    training, block = hold_back(tomogram, CLASSES[:1], halo=4)
    judging, learnt = (part.known.contains(inside).sum() for part in (block, training))
    assert judging >= 3
    assert learnt >= 15
    assert training.known.grown(4 + FILL).intersection(block.known).voxels == 0


def test_what_lies_in_an_ignored_ball_does_not_judge() -> None:
    low, spread = clustered(10, low=5, high=20), clustered(30, low=45, high=115, seed=1)
    tomogram = alone(np.vstack([low, spread]), np.zeros(40), Box.whole((40, 120, 120)))
    _, block = hold_back(tomogram, CLASSES[:1], halo=4)
    assert block.known.contains(low).all()
    _, block = hold_back(replace(tomogram, ignored=np.array([[20.0, 12, 12, 25]])), CLASSES[:1], halo=4)
    assert block.known.contains(spread).any()


def test_too_small_a_tomogram_cannot_be_parted() -> None:
    with pytest.raises(UsageError, match=r"E84 one\.mrc: .*too small"):
        hold_back(alone(np.zeros((0, 3)), np.zeros(0), Box.whole((40, 60, 60))), CLASSES, halo=4)


def test_a_class_with_too_few_picks_is_named_with_their_number() -> None:
    places = np.array([[20.0, 100.0, 100.0], [20.0, 20.0, 20.0], [20.0, 20.0, 60.0]])
    tomogram = alone(places, np.array([0, 1, 1]), Box.whole((40, 120, 60)))  # the first lies beyond
    with pytest.raises(UsageError, match=r"E84 a: none of its picks in one\.mrc \(0 that count\).*second tomogram"):
        hold_back(tomogram, CLASSES, halo=4)


@pytest.mark.parametrize("count", [1, 20])
def test_picks_too_close_together_cannot_be_parted(count: int) -> None:
    places = clustered(count, low=55, high=65)
    with pytest.raises(UsageError, match=r"E84 one\.mrc: its picks lie too close together.*annotate more"):
        hold_back(alone(places, np.zeros(count), Box.whole((40, 120, 120))), CLASSES[:1], halo=4)
