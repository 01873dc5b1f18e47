"""Where nothing is known, nothing is learnt and nothing judged: the mask goes with its cube from crop to loss."""

import numpy as np
import pytest
import torch

from picker_runtime.engines.base import Candidates, FakeEngine
from picker_training.augmentation import Augmentation, Sample, make_sample
from picker_training.calibration import candidates_of
from picker_training.config import TrainingConfig
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.detectors.assignment import assign
from picker_training.loading import collate
from picker_training.model_card import draft_card

EDGE = 16


class OneSample:
    """A source of one sample whose mask is where its cube is positive."""

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        cube = rng.normal(size=(EDGE,) * 3).astype(np.float32)
        return Sample(
            cube=cube, positions=np.zeros((0, 3), np.float32), class_ids=np.zeros(0, np.int64), unknown=cube > 0
        )


def test_the_mask_is_mirrored_and_turned_with_its_cube() -> None:
    augmentation = Augmentation(crop=EDGE, halo=0, turn_probability=0.5)
    for seed in range(12):
        sample = make_sample(OneSample(), augmentation, np.random.default_rng(seed))
        assert np.array_equal(sample.unknown, sample.cube > 0)


def test_a_batch_has_masks_if_any_sample_has_one() -> None:
    masked = OneSample().cut(Augmentation(), np.random.default_rng(0))
    plain = Sample(cube=masked.cube, positions=masked.positions, class_ids=masked.class_ids)
    assert collate([plain, plain]).unknown is None
    both = collate([plain, masked]).unknown
    assert both is not None
    assert not both[0].any()
    assert np.array_equal(both[1].numpy(), masked.unknown)


def test_a_cell_with_one_unknown_voxel_does_not_count() -> None:
    unknown = torch.zeros((1, EDGE, EDGE, EDGE), dtype=torch.bool)
    unknown[0, 5, 9, 14] = True
    targets = assign(
        [torch.tensor([[5.0, 9.0, 14.0]])], [torch.tensor([0])], (EDGE,) * 3,
        halo=0, stride=2, unknown=unknown, device=torch.device("cpu"),
    )  # fmt: skip
    assert targets.counts[0, 2, 4, 7] == 0
    assert targets.counts.sum() == 8**3 - 1


def test_candidates_where_nothing_is_known_are_not_judged() -> None:
    config = TrainingConfig()
    card = draft_card(config, dict.fromkeys(config.model.classes, 100.0))
    found = np.array([[10.0, 10.0, 10.0], [30.0, 10.0, 10.4]], np.float32)

    def find(cube: np.ndarray) -> Candidates:
        margin = (np.array(cube.shape) - 48) // 2
        centers = (found + margin).astype(np.float32)
        return Candidates(
            centers=centers, diameters=np.ones(2, np.float32), scores=np.array([0.9, 0.8], np.float32),
            class_ids=np.zeros(2, np.int32),
        )  # fmt: skip

    unknown = np.zeros((48, 48, 48), np.bool_)
    unknown[30, 10, 10] = True
    volume = AnnotatedVolume(
        volume=np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32), voxel_size=10.0,
        positions=np.zeros((0, 3)), class_ids=np.zeros(0, np.int32), unknown=unknown,
    )  # fmt: skip
    with FakeEngine(find) as engine:
        assert candidates_of(engine, card, volume).positions.tolist() == pytest.approx(np.array([[10.0, 10.0, 10.0]]))
