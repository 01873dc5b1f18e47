"""Random small scenes for the SHREC rules: blobs that touch, and picks in and around them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from picker_training.datasets.truth import Truth
from picker_training.evaluation.shrec import ShrecScore

SLICES, EDGE = 10, 7
NAMES = ("1bxn", "4d8q", "1s3x", "3cf3", "1bxn", "vesicle", "4V94", "fiducial")
LABELS = ["1bxn", "4d8q", "1s3x", "3cf3", "0", "4v94", "vesicle", "fiducial", "what"]
Picks = list[tuple[str, float, float, float]]
Scene = tuple[np.ndarray, Truth, Picks]


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A mask of blobs that touch, its truth, and picks in and around it."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    mask = np.zeros((SLICES, EDGE, EDGE), np.int32)
    centres = rng.integers(0, mask.shape, (len(NAMES), 3))
    for number in rng.permutation(len(NAMES)):
        z, y, x = centres[number]
        mask[z : z + rng.integers(1, 4), y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = number + 1
    z = st.integers(-4, 2 * SLICES + 4).map(lambda v: v / 2)
    side = st.integers(-4, 2 * EDGE + 4).map(lambda v: v / 2)
    picks = draw(st.lists(st.tuples(st.sampled_from(LABELS), z, side, side), max_size=14))
    return mask, Truth(names=NAMES, positions=centres.astype(np.float64)), picks


def run(rule: Any, scene: Scene, **options: Any) -> ShrecScore:
    mask, truth, picks = scene
    return rule(
        pick_names=[pick[0] for pick in picks],
        pick_positions=np.array([pick[1:] for pick in picks], np.float64).reshape(-1, 3),
        truth=truth,
        occupancy_mask=mask,
        **options,
    )
