"""One entry of a benchmark: which tomogram is searched for what, and that each score is that of its own picks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from training.benchmarking.tiny_protocol import TINY

from picker_runtime.detections import Detections
from picker_runtime.formats import read_named_picks
from picker_training.benchmarking.method import Method, Settings, Timing, Work
from picker_training.benchmarking.protocol import Difficulty
from picker_training.benchmarking.running import run_entry
from picker_training.datasets.annotated import AnnotatedVolume


class Oracle(Method):
    """Finds every particle of the tomogram it searches, and notes what it is given."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.searched: list[tuple[Path, Difficulty]] = []
        self.tuned: list[tuple[Path, NDArray[np.float64]]] = []
        self.picked: list[tuple[Path, Settings]] = []

    def search(self, folder: Path, difficulty: Difficulty) -> Path:
        self.searched.append((folder, difficulty))
        return folder

    def tune(self, found: Path, truth: AnnotatedVolume) -> Settings:
        self.tuned.append((found, truth.positions))
        return {"tuned on": str(found)}

    def picks(self, found: Path, settings: Settings, voxel_size: float) -> Detections:
        self.picked.append((found, settings))
        truth = self.work.scenes.read(found)
        n = len(truth.positions)
        return Detections(
            positions=truth.positions, diameters=np.full(n, 100.0), scores=np.ones(n), class_ids=truth.class_ids
        )

    def time(self, tomogram: Path, settings: Settings) -> Timing:
        return Timing(seconds=1.0, voxels=1)


def test_each_difficulty_is_tuned_on_its_calibration_tomogram_and_scored_on_its_test_tomogram(work: Work) -> None:
    scenes, oracle = work.scenes, Oracle(work)
    result = run_entry("oracle", oracle)
    calibration = [scenes.calibration_folder(difficulty) for difficulty in TINY.difficulties]
    tested = [scenes.test_folder(difficulty) for difficulty in TINY.difficulties]
    assert oracle.searched == [
        (folder, difficulty)
        for difficulty, *folders in zip(TINY.difficulties, calibration, tested, strict=True)
        for folder in folders
    ]
    assert [folder for folder, _ in oracle.tuned] == calibration
    for folder, positions in oracle.tuned:
        np.testing.assert_array_equal(positions, scenes.read(folder).positions)
    own = [{"tuned on": str(folder)} for folder in calibration]
    assert oracle.picked == list(zip(tested, own, strict=True))
    for difficulty, settings in zip(TINY.difficulties, own, strict=True):
        scores = result.scores[difficulty.name]
        assert scores["settings"] == settings
        assert scores["shrec2020"]["f1"] == scores["distance"]["f1"] == 1.0


def test_the_picks_that_were_scored_are_kept(work: Work) -> None:
    run_entry("oracle", Oracle(work))
    for difficulty, name in zip(TINY.difficulties, ("snr2", "snr0.2"), strict=True):
        truth = work.scenes.read(work.scenes.test_folder(difficulty))
        picks = read_named_picks(work.folder / "picks" / f"{name}.csv")
        assert [pick.name for pick in picks] == [TINY.classes[number] for number in truth.class_ids]
        assert {pick.tomogram for pick in picks} == {name}
        np.testing.assert_allclose([pick.position for pick in picks], truth.positions, atol=1e-3)
