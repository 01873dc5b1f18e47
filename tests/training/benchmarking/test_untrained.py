"""Template matching in a benchmark: one search of a scene serves all of its difficulties."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.benchmarking.tiny_protocol import TINY

from picker_training.benchmarking.method import Work
from picker_training.benchmarking.protocol import Difficulty
from picker_training.benchmarking.scenes import prepare_scenes
from picker_training.benchmarking.untrained import TemplateMatchingMethod

MIDDLE, EASY, HARD = (Difficulty(name=name, snr=snr) for name, snr in (("middle", 0.5), ("easy", 2.0), ("hard", 0.2)))


@pytest.fixture
def of_three(work: Work, data: Path, phantom_folder: Path) -> Work:
    protocol = replace(TINY, difficulties=(MIDDLE, EASY, HARD))
    return replace(work, scenes=prepare_scenes(protocol, data, phantom_folder, work.device))


def test_a_scene_is_searched_as_its_tomograms_on_disk(of_three: Work, phantom_folder: Path) -> None:
    scenes, method = of_three.scenes, TemplateMatchingMethod(of_three, phantom_folder)
    for folder_of in (scenes.calibration_folder, scenes.test_folder):
        tomograms = method._tomograms(folder_of(EASY).parent)
        assert len(tomograms) == 3
        for number, difficulty in enumerate((MIDDLE, EASY, HARD)):
            on_disk = scenes.read(folder_of(difficulty)).volume
            np.testing.assert_allclose(tomograms.tomogram(number).numpy(), on_disk, atol=1e-4 * on_disk.std())


def test_a_tomogram_has_the_same_peaks_alone_as_among_other_difficulties(of_three: Work, phantom_folder: Path) -> None:
    scenes, one_class = of_three.scenes, replace(of_three.scenes.protocol, classes=TINY.classes[1:2])

    def best(*difficulties: Difficulty) -> dict[str, float]:
        own = replace(scenes, protocol=replace(one_class, difficulties=difficulties))
        folder = of_three.folder / str(len(difficulties))
        method = TemplateMatchingMethod(replace(of_three, scenes=own, folder=folder), phantom_folder)
        return {one.name: method.search(scenes.test_folder(one), one).scores.max() for one in difficulties}

    together = best(MIDDLE, EASY, HARD)
    assert together["hard"] == pytest.approx(best(HARD)["hard"], rel=1e-4)
    assert len({round(score, 3) for score in together.values()}) == 3
