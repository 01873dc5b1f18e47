"""Picks written as rows, for tests that need them one by one."""

import numpy as np

from picker_runtime.detections import Detections

Row = tuple[float, float, float, float, int]


def detections(rows: list[Row]) -> Detections:
    """Return picks from rows of z, y, x, score and class."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(
        positions=table[:, :3], diameters=np.full(len(table), 50.0), scores=table[:, 3],
        class_ids=table[:, 4].astype(np.int32),
    )  # fmt: skip
