"""The maps and models of the classes that the default model knows, where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.templates import GRID_ANGSTROM, MASK_DENSITY, MASSES_KDA, find_template, load_template

ROOT = Path(__file__).parents[3]
TEMPLATES = Path(os.environ.get("PICKER_SHARED", ROOT.parent / "shared")) / "templates"
HALVES = ("1bxn", "1qvr", "3cf3", "3h84", "3qm1")  # their plain maps hold the asymmetric unit only
VOLUMES_NM3 = {"4cr2": 2675.0, "5mrc": 6372.0}

pytestmark = pytest.mark.skipif(not TEMPLATES.is_dir(), reason=f"no templates in {TEMPLATES}")


@pytest.mark.parametrize("name", [*SHREC2020_CLASSES, "5mrc", "6z6u"])
def test_its_centre_belongs_to_it_and_its_mass_is_the_table_s(name: str) -> None:
    template = load_template(find_template(TEMPLATES, name), name)
    assert template.mask[(template.mask.shape[0] // 2,) * 3] == 1.0
    assert template.mass_kda == pytest.approx(MASSES_KDA[name], rel=0.02)
    if name in VOLUMES_NM3:
        volume = np.count_nonzero(template.density > MASK_DENSITY) * (GRID_ANGSTROM / 10.0) ** 3
        assert volume == pytest.approx(VOLUMES_NM3[name], rel=0.05)


@pytest.mark.parametrize("name", HALVES)
def test_the_assembly_is_preferred_to_the_asymmetric_unit(name: str) -> None:
    assert find_template(TEMPLATES, name) == TEMPLATES / f"assembly_5A/{name}.mrc"
