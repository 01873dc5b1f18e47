"""The model and the sample that come with the package."""

from pathlib import Path

import pytest

from picker_export.parity import SCORE_TOLERANCE, report_parity, scene_from_file
from picker_runtime.bundle import Bundle
from picker_runtime.detector import Picker
from picker_runtime.sample import SAMPLES
from picker_training.datasets.shrec import read_occupancy_mask, read_truth
from picker_training.evaluation import distance, shrec
from picker_training.simulator.presets import SHREC2020_CLASSES

SAMPLE = SAMPLES / "shrec12_sample.mrc"
TRUTH = SAMPLES / "shrec12_sample"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open("shrec12")


def total_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_it_is_small_enough_to_ship(bundle: Bundle) -> None:
    assert max(path.stat().st_size for path in bundle.folder.iterdir()) <= 8_000_000
    assert total_size(bundle.folder) <= 20_000_000
    assert total_size(SAMPLES) <= 5_000_000


def test_it_knows_the_classes_of_shrec_2020_at_10_angstrom(bundle: Bundle) -> None:
    card = bundle.card
    assert card.class_names == SHREC2020_CLASSES
    assert card.voxel_size_angstrom == 10.0
    assert card.polarity == "dark"
    assert 0.5 * 53.7 <= min(c.diameter_angstrom for c in card.classes) <= 60
    assert card.metrics, "the card carries measured figures"


def test_its_halo_is_the_smallest_that_agrees_with_whole_volume_inference(bundle: Bundle) -> None:
    curve = {int(halo): share for halo, share in bundle.card.halo_curve.items()}
    assert curve[bundle.card.halo] >= 0.995
    assert all(share < 0.995 for halo, share in curve.items() if halo < bundle.card.halo)


def test_every_engine_agrees_with_pytorch(bundle: Bundle) -> None:
    reports = report_parity(bundle, [scene_from_file(SAMPLE)])
    assert {report.engine for report in reports} == {"openvino", "onnxruntime"}
    for report in reports:
        assert report.candidates > 100
        assert report.max_score_difference <= SCORE_TOLERANCE
        assert report.pick_agreement == 1.0


def test_it_finds_the_particles_of_the_sample(bundle: Bundle) -> None:
    with Picker("shrec12") as picker:
        detection = picker.detect(SAMPLE)
    truth = read_truth(TRUTH)
    picks = detection.picks
    names = [detection.class_names[c] for c in picks.class_ids]
    diameters = {c.name: c.diameter_angstrom / 10.0 for c in bundle.card.classes}
    score = distance.score(picks.positions, names, picks.scores, truth, diameters)
    assert score.f1 > 0.97
    assert (score.mean_class_f1 or 0.0) > 0.88
    assert (score.centre_error or 9.0) < 0.6
    official = shrec.score_2020(
        pick_names=names, pick_positions=picks.positions, truth=truth, occupancy_mask=read_occupancy_mask(TRUTH, truth)
    )
    assert official.f1 > 0.97
