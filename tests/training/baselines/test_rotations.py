import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_training.baselines.rotations import angles_between, even_rotations, matrices
from picker_training.simulator.specimen import random_rotations


@given(count=st.integers(1, 200))
@settings(max_examples=20)
def test_any_number_of_them_are_rotations(count: int) -> None:
    rotations = even_rotations(count)
    assert rotations.shape == (count, 3, 3)
    assert rotations @ rotations.swapaxes(1, 2) == pytest.approx(np.tile(np.eye(3), (count, 1, 1)), abs=1e-12)
    assert np.linalg.det(rotations) == pytest.approx(1.0)


def test_three_thousand_leave_no_orientation_far_from_the_nearest() -> None:
    rotations = even_rotations(3000)
    nearest = angles_between(random_rotations(2000, np.random.default_rng(0)), rotations).min(axis=1)
    assert nearest.max() < 15.0
    assert nearest.mean() < 8.7


def test_they_are_uniform_as_far_as_second_moments_tell() -> None:
    rotations = even_rotations(3000)
    assert np.abs(rotations.mean(axis=0)).max() < 0.002
    # Over all rotations the mean of R_ij R_kl is 1 / 3 where i = k and j = l, else 0.
    flat = rotations.reshape(-1, 9)
    assert flat.T @ flat / len(flat) == pytest.approx(np.eye(9) / 3.0, abs=0.002)


def test_none_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rotations"):
        even_rotations(0)


def test_a_quaternion_turns_by_twice_its_angle() -> None:
    quarter = matrices(np.array([[np.cos(np.pi / 4), 0.0, 0.0, np.sin(np.pi / 4)]]))[0]
    assert quarter @ [1.0, 0.0, 0.0] == pytest.approx([0.0, 1.0, 0.0])
    assert quarter @ [0.0, 0.0, 1.0] == pytest.approx([0.0, 0.0, 1.0])


def test_the_angle_between_two_rotations_is_that_of_the_way_from_one_to_the_other() -> None:
    half = np.deg2rad(np.array([0.0, 20.0, 70.0])) / 2
    zeros = np.zeros(3)
    turns = matrices(np.stack([np.cos(half), np.sin(half), zeros, zeros], axis=1))
    assert angles_between(turns, turns) == pytest.approx(np.array([[0, 20, 70], [20, 0, 50], [70, 50, 0]]), abs=1e-4)
