"""The numbers of the papers."""

import numpy as np
import pytest

from picker_training.simulator.faithful.materials import (
    CONTRAST_VOLT_PER_DENSITY,
    ICE_ABSORPTION_VOLT,
    interaction_constant,
)
from picker_training.simulator.faithful.presets import SHREC2020, SHREC2021

POTENTIAL_CONSTANT = 47.878


def test_shrec_2020_is_as_printed() -> None:
    p = SHREC2020
    assert (p.shape, p.particles, len(p.classes)) == ((200, 512, 512), (2400, 2800), 12)
    assert (len(p.tilts_degree), min(p.tilts_degree), max(p.tilts_degree)) == (40, -60.0, 60.0)
    assert (p.defocus_um, p.envelope, p.projection_snr) == ((3.0, 3.0), 0.4, 0.004)
    assert (p.structural_noise_volt, p.ice_noise_volt, p.ice_volt, p.slice_angstrom) == (0.04, 0.01, 0.15, 50.0)
    assert p.absorption_ratio == pytest.approx(p.amplitude_contrast / np.sqrt(1 - p.amplitude_contrast**2), rel=1e-4)


def test_shrec_2021_is_as_printed() -> None:
    p = SHREC2021
    assert (p.shape, p.particles, p.wave_side - 2 * p.margin * p.binning) == ((180, 512, 512), (1000, 3000), 1024)
    assert set(p.classes) == (set(SHREC2020.classes) - {"4d8q"}) | {"5mrc"}
    assert (len(p.tilts_degree), p.defocus_um, p.dose_per_angstrom2) == (61, (2.0, 5.0), (100.0, 120.0))
    assert (p.gold, p.vesicles, p.slice_angstrom, p.spherical_aberration_mm) == ((7, 14), (2, 7), 50.0, 2.7)
    assert [p.class_numbers[name] for name in ("4v94", "4cr2", "5mrc", "vesicle", "fiducial")] == [1, 2, 13, 14, 15]


def test_potentials_follow_from_scattering_factors() -> None:
    ice = POTENTIAL_CONSTANT * (2 * 0.529 + 1.983) / 18.015 * 0.560
    assert SHREC2021.ice_volt == pytest.approx(ice, rel=0.01)
    residue = 4.9 * 2.509 + 7.7 * 0.529 + 1.36 * 2.211 + 1.48 * 1.983 + 0.04 * 5.161
    protein = POTENTIAL_CONSTANT * residue / 110.6
    assert pytest.approx(protein - 1.212 * ice, rel=0.01) == CONTRAST_VOLT_PER_DENSITY
    gold = POTENTIAL_CONSTANT * 10.57 * 19.3 / 196.97 * 0.6022
    assert SHREC2021.gold_volt == pytest.approx(gold - ice, rel=0.01)


def test_interaction_constant_and_mean_free_path() -> None:
    sigma = interaction_constant(300.0)
    assert sigma == pytest.approx(6.526e-4, rel=1e-3)
    assert 1.0 / (2.0 * sigma * ICE_ABSORPTION_VOLT) == pytest.approx(3690.0, rel=0.01)
