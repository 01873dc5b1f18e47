from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth
from picker_training.fidelity_report import read_sample
from picker_training.simulator.fidelity import (
    DIFFERENCES,
    PUBLISHED,
    Sample,
    autocorrelation,
    measure,
    nearest_distances,
    radial_power,
    table,
)


def sample() -> Sample:
    occupancy = np.zeros((8, 32, 32), np.int32)
    occupancy[1:3, 1:3, 1:3], occupancy[5, 5, 5:9] = 1, 2
    return Sample(
        name="one",
        preset="shrec2021",
        tomogram=np.random.default_rng(0).normal(2.0, 0.5, (8, 32, 32)).astype(np.float32),
        occupancy=occupancy,
        names=("4cr2", "1bxn", "fiducial"),
        positions=np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0], [0.0, 0.0, 1.0]]),
        voxel_size=20.0,
        snr=0.25,
    )


def test_a_tomogram_is_titled_with_its_preset() -> None:
    assert sample().title == "one (shrec2021)"
    assert replace(sample(), preset="").title == "one"


def test_figures_of_white_noise() -> None:
    figures = measure(sample())
    assert figures["mean"] == pytest.approx(2.0, abs=0.02)
    assert figures["standard deviation of the background"] == pytest.approx(0.5, rel=0.03)
    assert figures["kurtosis of the background"] == pytest.approx(3.0, abs=0.2)
    assert figures["SNR"] == 0.25
    assert (figures["particles"], figures["fiducials"], figures["vesicles"]) == (2, 1, 0)
    assert figures["mask volume 4cr2, nm^3"] == 8 * 8
    assert figures["mask volume 1bxn, nm^3"] == 4 * 8
    assert figures["nearest neighbour, 50 %, voxels"] == 5.0  # gold is not a particle


def test_autocorrelation_and_power_of_a_wave() -> None:
    wave = np.cos(2 * np.pi * np.arange(32) / 4).astype(np.float32)
    volume = np.broadcast_to(wave, (8, 32, 32)).copy()
    assert autocorrelation(volume, 2, (0.0, 1.0, 2.0)) == pytest.approx([1.0, 0.0, -1.0], abs=1e-6)
    frequency, power = radial_power(volume)
    assert frequency[power.argmax()] == pytest.approx(0.25, abs=1 / 32)


@pytest.mark.parametrize("whole_masks", [False, True])
def test_the_slab_that_the_truth_covers_is_measured(whole_masks: bool, tmp_path: Path) -> None:
    """In real data sets the reconstruction is deeper than the masks."""
    small = sample()
    slab, occupancy = np.tile(small.tomogram, (2, 1, 1)), np.pad(small.occupancy, ((0, 8), (0, 0), (0, 0)))
    truth = Truth(names=small.names[:2], positions=np.array([[1.0, 1.0, 1.0], [5.0, 5.0, 6.0]]))
    below = 0 if whole_masks else 3
    tomogram = np.pad(slab, ((below, below), (0, 0), (0, 0)), constant_values=99.0)
    volumes = {"reconstruction": tomogram, "occupancy_mask": occupancy}
    write_truth(tmp_path / "model_0", truth, voxel_size=20.0, volumes=volumes)
    read = read_sample(tmp_path / "model_0")
    np.testing.assert_array_equal(read.tomogram, slab)
    np.testing.assert_array_equal(read.occupancy, occupancy)
    assert measure(read)["particles"] == 2


def test_a_lone_particle_has_no_neighbour() -> None:
    assert len(nearest_distances(np.zeros((1, 3)))) == 0


def test_the_table_names_every_published_figure_and_difference() -> None:
    figures = dict.fromkeys(PUBLISHED, 1.0)
    text = table({"ours": figures, "other": {"SNR": 0.5}})
    assert all(f"| {name} | 1 |" in text for name in PUBLISHED)
    assert "| figure | ours | other | published 2019 | published 2020 | published 2021 |" in text
    assert "| SNR | 1 | 0.5 |  |  | 0.12 to 0.58, over 512 slices |" in text
    assert "| particles | 1 |  |  | 2400 to 2800 | 1000 to 3000 |" in text
    assert all(difference in text for difference in DIFFERENCES)
