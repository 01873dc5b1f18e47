"""The entries of a benchmark as they are, nothing replaced: what each would train with."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.phantoms import CLASSES

from picker_training.benchmarking.entries import ENTRIES, UNTRAINED
from picker_training.benchmarking.learned import LearnedMethod, UNetMethod
from picker_training.benchmarking.method import Work
from picker_training.benchmarking.protocol import PROTOCOLS
from picker_training.benchmarking.scenes import BenchmarkScenes
from picker_training.benchmarking.untrained import BlobMethod, TemplateMatchingMethod
from picker_training.config import TrainingConfig
from picker_training.detectors.unet import BALL

SNRS, VOXEL_SIZE, DIAMETERS = (0.03, 0.7), 8.0, (72.0, 96.0, 120.0)
POINT = {"point-n": ((16, 32, 48), (0, 1, 2)), "point-s": ((32, 64, 96), (0, 1, 2)),
         "point-m": ((64, 96, 112), (1, 2, 2))}  # fmt: skip
UNET = {"unet": (8, 16, 32, 64), "unet-wide": (16, 32, 64, 128)}
PAPER = {"paper": False, "paper-mended": True}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    small = PROTOCOLS["small"]
    protocol = replace(
        small, classes=CLASSES, spec=replace(small.spec, voxel_size=VOXEL_SIZE), training_snrs=SNRS, paper_width=0.5
    )
    diameters = dict(zip(CLASSES, DIAMETERS, strict=True))
    scenes = BenchmarkScenes(protocol=protocol, folder=tmp_path / "scenes", diameters_angstrom=diameters)
    return Work(
        scenes=scenes, folder=tmp_path / "run", device=torch.device("cpu"), seed=3, minutes=1.0,
        report=lambda line: None,
    )  # fmt: skip


def config_of(name: str, work: Work) -> TrainingConfig:
    method = ENTRIES[name](work, work.folder)
    assert isinstance(method, LearnedMethod)
    assert method.work == work
    return method.config


def test_every_entry_is_looked_at_here() -> None:
    assert set(ENTRIES) == {*POINT, *UNET, *PAPER, *UNTRAINED}


@pytest.mark.parametrize("name", [*POINT, *UNET, *PAPER])
def test_every_network_learns_the_seed_snrs_classes_and_voxel_size_of_its_work(name: str, work: Work) -> None:
    config = config_of(name, work)
    assert config.seed == 3
    assert config.data.snr == SNRS
    assert config.model.classes == CLASSES
    assert config.model.voxel_size_angstrom == VOXEL_SIZE
    assert config.model.detector == name.split("-")[0]


@pytest.mark.parametrize("name", POINT)
def test_the_point_detector_has_the_size_that_its_entry_names(name: str, work: Work) -> None:
    config = config_of(name, work)
    assert (config.point.widths, config.point.blocks) == POINT[name]
    default = TrainingConfig()
    assert config.data == replace(default.data, snr=SNRS)
    assert config.optimiser == default.optimiser


@pytest.mark.parametrize("name", UNET)
def test_the_unet_learns_balls_of_a_part_of_each_diameter(name: str, work: Work) -> None:
    config = config_of(name, work)
    assert isinstance(ENTRIES[name](work, work.folder), UNetMethod)
    assert config.unet.widths == UNET[name]
    wanted = [0.5 * BALL * diameter / VOXEL_SIZE for diameter in DIAMETERS]
    assert config.unet.radii_voxels == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_has_the_published_training_at_the_width_of_the_protocol(name: str, work: Work) -> None:
    config = config_of(name, work)
    assert (config.paper.width, config.optimiser.batch) == (16, 16)  # half of 32
    assert (config.paper.linear_output, config.paper.own_cell) == (PAPER[name],) * 2
    assert (config.data.crop, config.data.halo, config.optimiser.clip_norm) == (64, 8, math.inf)


def test_template_matching_and_blobs_learn_nothing(work: Work, phantom_folder: Path) -> None:
    matching, blobs = (ENTRIES[name](work, phantom_folder) for name in ("template-matching", "log"))
    assert isinstance(matching, TemplateMatchingMethod)
    assert [template.name for template in matching._templates] == list(CLASSES)
    assert isinstance(blobs, BlobMethod)
    assert matching.work == blobs.work == work
