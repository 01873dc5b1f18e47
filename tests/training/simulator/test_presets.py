"""The fixed test set must never change: figures measured on it are compared over the years."""

import numpy as np
import pytest

from picker_training.simulator.microscope import Microscope
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES, training_spec

CLASSES = ("3cf3", "1s3x", "1u6g", "4cr2", "1qvr", "3h84", "2cg9", "3qm1", "3gl1", "3d2f", "4d8q", "1bxn")


def test_the_classes_of_shrec_2020_in_its_order() -> None:
    assert SHREC2020_CLASSES == CLASSES


@pytest.mark.parametrize("name", ["bench12", "bench12-contaminated"])
def test_bench12_is_fixed(name: str) -> None:
    preset = PRESETS[name]
    assert preset.seeds == (9001, 9002, 9003)
    assert preset.snrs == (0.1, 0.05, 0.03)
    assert preset.spec.shape == (200, 512, 512)
    assert preset.spec.particles == 2600
    assert preset.spec.voxel_size == 10.0
    assert preset.spec.microscope == Microscope()
    assert not preset.spec.periodic


def test_bench12_is_clean_and_its_twin_is_not() -> None:
    clean, mixed = PRESETS["bench12"], PRESETS["bench12-contaminated"]
    assert (clean.spec.gold, clean.spec.vesicles, clean.spec.strangers, clean.strangers) == (0, 0, 0, ())
    assert min(mixed.spec.gold, mixed.spec.vesicles, mixed.spec.strangers) > 0
    assert mixed.strangers
    assert not set(mixed.strangers) & set(CLASSES)


def test_the_default_microscope_is_that_of_bench12() -> None:
    microscope = Microscope()
    assert np.allclose(microscope.tilts_degree, np.linspace(-60.0, 60.0, 40))
    assert (microscope.defocus_um, microscope.voltage_kv) == (3.0, 300.0)
    assert microscope.dose_per_image is None
    assert microscope.structural_noise == 0.0


def test_no_preset_shares_a_seed_with_another_set() -> None:
    assert set(PRESETS["sample"].seeds).isdisjoint(PRESETS["bench12"].seeds)


def test_training_scenes_vary_within_their_limits() -> None:
    specs = [training_spec(np.random.default_rng(i)) for i in range(200)]
    microscopes = [s.microscope for s in specs]
    assert all(1.5 <= m.defocus_um <= 5.0 for m in microscopes)
    assert all(-70.0 < min(m.tilts_degree) < -40.0 and 40.0 < max(m.tilts_degree) < 70.0 for m in microscopes)
    assert all(9.5 <= s.voxel_size <= 10.5 and s.periodic for s in specs)
    depths = [s.shape[0] for s in specs]
    assert min(depths) == 80
    assert max(depths) == 300
    assert 0.3 < np.mean(np.array(depths) >= 200) < 0.5
    assert 0.25 < np.mean([s.gold + s.vesicles + s.strangers > 0 for s in specs]) < 0.55
    for choice in ("phase_flipped", "low_pass_angstrom", "ramp_cutoff", "dose_per_image", "structural_noise"):
        assert len({getattr(m, choice) for m in microscopes}) > 1, choice


def test_a_training_scene_depends_on_its_generator_alone() -> None:
    assert training_spec(np.random.default_rng((1, 2))) == training_spec(np.random.default_rng((1, 2)))
    assert training_spec(np.random.default_rng((1, 2))) != training_spec(np.random.default_rng((1, 3)))
