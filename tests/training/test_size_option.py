from dataclasses import replace

import pytest

from picker_runtime.errors import UsageError
from picker_training.config import ModelSection, TrainingConfig
from picker_training.detectors.options import POINT_SIZES, PointOptions
from picker_training.fit_options import sized


@pytest.mark.parametrize("size", POINT_SIZES)
def test_a_size_sets_the_network_and_nothing_else(size: str) -> None:
    config = TrainingConfig(seed=5, point=PointOptions(label_smoothing=0.2, widths=(8, 8, 8)))
    made = sized(config, size)
    assert (made.point.widths, made.point.blocks) == (POINT_SIZES[size].widths, POINT_SIZES[size].blocks)
    assert replace(made, point=config.point) == config
    assert made.point.label_smoothing == 0.2


def test_without_a_size_the_configuration_s_own_stays() -> None:
    config = TrainingConfig(point=PointOptions(widths=(8, 8, 8)))
    assert sized(config, None) is config


def test_an_unknown_size_or_another_detector_is_refused() -> None:
    with pytest.raises(UsageError, match=r"E80 --size x: no such size.*n, s, m"):
        sized(TrainingConfig(), "x")
    with pytest.raises(UsageError, match="the detector is unet"):
        sized(TrainingConfig(model=ModelSection(detector="unet")), "n")
