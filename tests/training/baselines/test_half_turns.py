from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import hadamard
from training.phantoms import SHARP, hook

from picker_training.baselines.half_turns import (
    ABOUT_X,
    ABOUT_Y,
    ABOUT_Z,
    NO_TURN,
    half_turns,
    highest_of_turned,
    one_of_turned,
    parities,
    turned,
    walsh_hadamard,
)
from picker_training.baselines.optics import point_spread
from picker_training.baselines.rotation_basis import draw_orientations
from picker_training.baselines.rotations import angles_between, even_rotations
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.specimen import random_rotations

LOPSIDED = replace(SHARP, tilts_degree=tuple(np.linspace(-40.0, 60.0, 15).tolist()))
MICROSCOPES = [SHARP, LOPSIDED]


def test_only_turns_that_the_tilts_allow_are_used() -> None:
    assert half_turns(Microscope()).tolist() == [list(t) for t in (NO_TURN, ABOUT_Y, ABOUT_Z, ABOUT_X)]
    assert half_turns(LOPSIDED).tolist() == [list(NO_TURN), list(ABOUT_Y)]
    unsorted = replace(SHARP, tilts_degree=(0.0, 40.0, -40.0, 10.0, -10.0))
    assert len(half_turns(unsorted)) == 4


@pytest.mark.parametrize("microscope", MICROSCOPES)
def test_what_the_microscope_makes_of_a_point_is_as_symmetric_as_the_turns_say(microscope: Microscope) -> None:
    spread = point_spread(microscope, 10.0, 10).numpy()
    turns = half_turns(microscope)
    for turn in (NO_TURN, ABOUT_Y, ABOUT_Z, ABOUT_X):
        seen = np.flip(spread, [axis for axis in range(3) if turn[axis] < 0])
        alike = np.abs(seen - spread).max() < 1e-5 * np.abs(spread).max()
        assert alike == (list(turn) in turns.tolist())


@pytest.mark.parametrize("microscope", MICROSCOPES)
def test_images_of_turned_particles_are_sums_of_the_parities_of_the_others(microscope: Microscope) -> None:
    rotations, turns = random_rotations(3, np.random.default_rng(1)), half_turns(microscope)
    images, mask = draw_orientations(hook(), rotations, microscope, 10.0)
    drawn, _ = draw_orientations(hook(), turned(rotations, turns), microscope, 10.0)
    parts = parities(images, mask, turns)
    assert walsh_hadamard(parts).flatten(0, 1).numpy() == pytest.approx(drawn.numpy(), abs=1e-5)
    assert np.abs(np.corrcoef(drawn.numpy()) - np.eye(len(drawn))).max() < 0.95  # no two of them look the same
    crossed = torch.einsum("gnm,hkm->ghnk", parts, parts)
    crossed[torch.arange(len(turns)), torch.arange(len(turns))] = 0.0
    assert float(crossed.abs().max()) < 1e-5


@pytest.mark.parametrize("microscope", MICROSCOPES)
@pytest.mark.parametrize("count", [1, 2, 100, 3000])
def test_turns_make_the_whole_of_the_part_that_is_left(microscope: Microscope, count: int) -> None:
    turns = half_turns(microscope)
    part = one_of_turned(even_rotations(count), turns)
    assert abs(len(part) * len(turns) - count) <= max(0.08 * count, len(turns))
    whole = turned(part, turns)
    assert np.linalg.det(whole) == pytest.approx(1.0)
    assert whole[: len(part)] == pytest.approx(part)
    if count == 3000:
        nearest = angles_between(random_rotations(2000, np.random.default_rng(0)), whole).min(axis=1)
        assert nearest.max() < 17.0
        assert nearest.mean() < 8.7


def test_one_that_every_turn_leads_nearer_to_none_is_better_than_no_orientation() -> None:
    about_z = np.diag(np.array(ABOUT_Z, np.float64))[None]
    assert one_of_turned(about_z, half_turns(SHARP)).tolist() == about_z.tolist()


def test_turning_is_turning_after_the_rotation() -> None:
    (quarter,) = np.array([[[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])  # about z: y to x, x to -y
    (_, after_y) = turned(quarter[None], np.array([NO_TURN, ABOUT_Y]))
    assert (after_y @ [0.0, 1.0, 0.0]).tolist() == [0.0, 0.0, -1.0]


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_transform_is_the_product_with_sylvesters_matrix(size: int) -> None:
    values: NDArray[np.float64] = np.random.default_rng(0).normal(size=(size, 3, 5))
    expected = np.tensordot(hadamard(size), values, axes=1)
    assert walsh_hadamard(torch.from_numpy(values)).numpy() == pytest.approx(expected)
    assert highest_of_turned(torch.from_numpy(values)).numpy() == pytest.approx(expected.max(axis=0))
