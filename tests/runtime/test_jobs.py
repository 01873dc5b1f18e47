"""Jobs: what is written together is written by one process at a time; picks mean the same to `detect` and `picks`."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import golden_bundle, volume_with_blobs
from integration.command_line import picker as command
from integration.command_line import tomogram

from picker_runtime import jobs
from picker_runtime.detections import Detections
from picker_runtime.detector import Picker
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


def test_folders_are_held_while_the_files_of_a_tomogram_are_read_and_written(
    golden_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what `picks` writes was made from what lies there, and not from what lay there before a `detect`."""
    one, other, seen = tmp_path / "one", tmp_path / "other", list[tuple[str, bool, bool]]()
    tomogram(tmp_path / "a.mrc")

    def watched(name: str) -> None:
        right = getattr(jobs, name)

        def watch(*given: object, **options: object) -> object:
            seen.append((name, is_held(one), other.exists() and is_held(other)))
            return right(*given, **options)

        monkeypatch.setattr(jobs, name, watch)

    for name in ("read_candidates", "write_outputs"):
        watched(name)
    assert command("detect", tmp_path / "a.mrc", "-o", one, "--model", golden_model).status == 0
    assert command("picks", one).status == 0
    assert command("picks", one, "-o", other).status == 0
    assert seen == [
        ("write_outputs", True, False), ("read_candidates", True, False), ("write_outputs", True, False),
        ("read_candidates", True, True), ("write_outputs", True, True),
    ]  # fmt: skip
    assert not is_held(one) and not is_held(other)


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
    jobs._write(tmp_path / "a", replace(found, candidates=two), None, AS_BEFORE, again=False)
    assert len(jobs.pick_again(tmp_path / "a.json", AS_BEFORE).picks) == left
