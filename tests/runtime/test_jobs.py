"""Jobs: what is written together is written by one process at a time; picks mean the same to `detect` and `picks`."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import golden_bundle, volume_with_blobs

from picker_runtime import jobs
from picker_runtime.detections import Detections
from picker_runtime.detector import Picker
from picker_runtime.outputs import write_outputs
from picker_runtime.scanning import Stages
from picker_runtime.settings import PicksSettings, Thresholds

AS_BEFORE = PicksSettings(
    inputs=(), output=None, thresholds=Thresholds(), classes=None, formats=(), relion_centre="core"
)


@pytest.fixture(scope="module")
def picker(tmp_path_factory: pytest.TempPathFactory) -> Picker:
    return Picker(golden_bundle(tmp_path_factory.mktemp("models") / "golden"), threads=1)


def is_held(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_folder_is_held_while_the_files_of_a_tomogram_are_written(
    picker: Picker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detection = picker.detect(volume_with_blobs((32, 32, 32), [(16, 16, 16)]), voxel_size=10.0)
    seen: list[bool] = []

    def write(target: Path, *given: object, **options: object) -> object:
        seen.append(is_held(target.parent))
        return write_outputs(target, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(jobs, "write_outputs", write)
    jobs._write(tmp_path / "a", detection, None, AS_BEFORE)
    assert seen == [True]
    assert not is_held(tmp_path)
    assert (tmp_path / "a.json").exists()


@pytest.mark.parametrize(("voxel_size", "left"), [(10.0, 1), (10.15, 2)])
def test_how_near_two_picks_may_be_goes_by_the_tomogram_s_voxel_size(
    voxel_size: float, left: int, picker: Picker, tmp_path: Path
) -> None:
    """Half of 50 angstrom are 2.5 voxels of 10 A and 2.46 of 10.15 A."""
    seen = picker.detect(volume_with_blobs((32, 32, 32), [(16, 16, 16)]), voxel_size=voxel_size)
    two = Detections(
        positions=np.array([[16.0, 16, 16], [16, 16, 18.48]]),
        diameters=np.full(2, 50.0), scores=np.array([0.9, 0.8]), class_ids=np.zeros(2, np.int32),
    )  # fmt: skip
    thresholds = dict.fromkeys(picker.card.class_names, 0.5)
    found = picker._picked(seen.record.tomogram, two, thresholds, thresholds, Stages(), [], {})
    assert len(found.picks) == left
    jobs._write(tmp_path / "a", replace(found, candidates=two), None, AS_BEFORE)
    assert len(jobs.pick_again(tmp_path / "a.json", AS_BEFORE).picks) == left
