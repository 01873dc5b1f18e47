"""Small forms of the faithful presets, with phantoms as classes."""

from dataclasses import replace

import numpy as np
import pytest
from training.phantoms import CLASSES

from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters
from picker_training.simulator.faithful.presets import SHREC2020, SHREC2021

TILTS = tuple(np.linspace(-60.0, 60.0, 9).tolist())


@pytest.fixture
def small_2020() -> Shrec2020Parameters:
    return replace(
        SHREC2020, classes=CLASSES, particles=(7, 9), depth=32, field=48, breadth=96, margin=8, tilts_degree=TILTS
    )


@pytest.fixture
def small_2021() -> Shrec2021Parameters:
    return replace(
        SHREC2021,
        classes=CLASSES, particles=(5, 7), depth=32, field=48, breadth=96, margin=8, tilts_degree=TILTS,
        vesicles=(1, 1), gold=(1, 1), vesicle_diameter_angstrom=(100.0, 120.0),
    )  # fmt: skip
