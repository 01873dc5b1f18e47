import numpy as np
import pytest
from numpy.typing import NDArray

from picker_training.baselines.blobs import BlobFilter, blob_response, find_blobs, matched_width
from picker_training.baselines.selection import candidates_of, pick_at

BALLS = {(12, 12, 12): 60.0, (12, 14, 34): 120.0}
DIAMETERS = [60.0, 120.0]


def dark_balls(voxel_size: float) -> NDArray[np.float32]:
    grid = np.indices((25, 28, 48))
    volume = np.zeros(grid.shape[1:], np.float32)
    for centre, diameter in BALLS.items():
        distance = np.linalg.norm(grid - np.array(centre)[:, None, None, None], axis=0)
        volume -= np.clip(diameter / 2 / voxel_size - distance + 0.5, 0, 1)
    return volume + np.random.default_rng(0).normal(0, 0.05, volume.shape).astype(np.float32)


@pytest.mark.parametrize("kind", BlobFilter)
def test_balls_are_found_at_their_place_and_size(kind: BlobFilter) -> None:
    (peaks,) = find_blobs(dark_balls(10.0), DIAMETERS, 10.0, kind)
    picks = pick_at(candidates_of(peaks, DIAMETERS), np.array([0.6, 0.6]), 10.0)
    assert {
        tuple(p): DIAMETERS[c] for p, c in zip(picks.positions.astype(int).tolist(), picks.class_ids, strict=True)
    } == BALLS


@pytest.mark.parametrize("kind", BlobFilter)
def test_bright_balls_are_no_particles(kind: BlobFilter) -> None:
    response = blob_response(-dark_balls(10.0), 2.0, kind)
    assert response[12, 12, 12] < -0.2


@pytest.mark.parametrize("kind", BlobFilter)
def test_a_ball_answers_most_at_its_own_width(kind: BlobFilter) -> None:
    volume = dark_balls(10.0)
    own = matched_width(120.0) / 10.0
    widths = own * np.array([0.6, 0.8, 1.0, 1.25, 1.6])
    answers = [blob_response(volume, width, kind)[12, 14, 34] for width in widths]
    assert int(np.argmax(answers)) == 2
