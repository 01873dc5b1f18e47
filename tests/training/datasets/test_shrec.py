"""Folders in SHREC layout: written and read back, and refused where they are not one."""

import gzip
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from picker_runtime.errors import InputError
from picker_training.datasets.shrec import (
    read_class_mask,
    read_occupancy_mask,
    read_truth,
    read_voxel_size,
    write_truth,
)
from picker_training.datasets.truth import Truth

TRUTH = Truth(names=("1bxn", "4d8q"), positions=np.array([[3.25, 5.5, 8.125], [0, 1, 2]]))
MASK = np.zeros((16, 17, 18), np.int32)
MASK[3, 5, 8], MASK[0, 1, 2] = 1, 2


def write(folder: Path, **options: bool) -> Path:
    classes = np.where(MASK == 1, 12, 0)
    angles = np.array([[10.0, 20.0, 30.0], [-1.0, 0.0, 0.5]])
    volumes = {"occupancy_mask": MASK, "class_mask": classes, "reconstruction": MASK.astype(np.float16)}
    write_truth(folder, TRUTH, voxel_size=10.0, volumes=volumes, angles=angles, **options)
    return folder


@pytest.mark.parametrize("compress", [False, True])
def test_round_trip(tmp_path: Path, compress: bool) -> None:
    folder = write(tmp_path / "sub" / "model_0", compress=compress)
    truth = read_truth(folder)
    assert truth.names == TRUTH.names
    np.testing.assert_array_equal(truth.positions, TRUTH.positions)
    np.testing.assert_array_equal(read_occupancy_mask(folder, truth), MASK)
    assert read_class_mask(folder)[3, 5, 8] == 12
    assert read_voxel_size(folder) == 10
    suffix = ".mrc.gz" if compress else ".mrc"
    volumes = {f"{name}{suffix}" for name in ("occupancy_mask", "class_mask", "reconstruction")}
    assert {path.name for path in folder.iterdir()} == {"particle_locations.txt", *volumes}


def test_list_is_class_x_y_z_and_angles(tmp_path: Path) -> None:
    assert (write(tmp_path) / "particle_locations.txt").read_text() == (
        "1bxn 8.125 5.500 3.250 10.0000 20.0000 30.0000\n4d8q 2.000 1.000 0.000 -1.0000 0.0000 0.5000\n"
    )


def test_another_library_reads_the_same_mask(tmp_path: Path) -> None:
    with mrcfile.open(write(tmp_path) / "occupancy_mask.mrc") as volume:
        np.testing.assert_array_equal(volume.data, MASK)
        assert volume.data.dtype == np.int16
        assert float(volume.voxel_size.z) == 10


def test_many_particles_need_uint16(tmp_path: Path) -> None:
    truth = Truth(names=("1bxn",) * 40_000, positions=np.zeros((40_000, 3)))
    write_truth(tmp_path, truth, voxel_size=10.0, volumes={"occupancy_mask": MASK * 20_000})
    np.testing.assert_array_equal(read_occupancy_mask(tmp_path, truth), MASK * 20_000)


def test_compressed_files_are_the_same_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for now in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda now=now: now)
        contents.append((write(tmp_path, compress=True) / "class_mask.mrc.gz").read_bytes())
    assert contents[0] == contents[1]


def test_organisers_list(tmp_path: Path) -> None:
    text = "vesicle 425 180 95 NaN NaN NaN\n1QVR 113 338 20 103.7874 140.0989 46.2302\n\n"
    (tmp_path / "particle_locations.txt").write_text(text)
    truth = read_truth(tmp_path)
    assert truth.names == ("vesicle", "1QVR")
    assert truth.positions.tolist() == [[95, 180, 425], [20, 338, 113]]
    assert truth.classes == ("1QVR", "vesicle")


@pytest.mark.parametrize(
    "text, problem",
    [
        ("1bxn 1 2 3\n\n1bxn 1 2 3\n", "line 2 is not a particle"),
        ("# comment\n1bxn 1 2 3\n", "line 1 is not a particle"),
        ("1bxn 1 2 3\n1bxn 1 2\n", "line 2: "),
        ("1bxn 1 2 three\n", "line 1: "),
    ],
)
def test_wrong_list_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "particle_locations.txt").write_text(text)
    with pytest.raises(InputError, match=problem) as caught:
        read_truth(tmp_path)
    assert caught.value.code == 46


@pytest.mark.parametrize("value", [3, -1])
def test_mask_of_another_list_is_refused(tmp_path: Path, value: int) -> None:
    write_truth(tmp_path, TRUTH, voxel_size=10.0, volumes={"occupancy_mask": np.where(MASK == 1, value, 0)})
    with pytest.raises(InputError, match="expected whole numbers 0 to 2"):
        read_occupancy_mask(tmp_path, TRUTH)


def test_fractional_mask_is_refused(tmp_path: Path) -> None:
    write_truth(tmp_path, TRUTH, voxel_size=10.0, volumes={"occupancy_mask": (MASK / 2).astype(np.float32)})
    with pytest.raises(InputError, match="expected whole numbers"):
        read_occupancy_mask(tmp_path, TRUTH)


def test_absent_and_broken_volumes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not found"):
        read_class_mask(tmp_path)
    (tmp_path / "class_mask.mrc.gz").write_bytes(gzip.compress(b"x" * 9999)[:-9])
    with pytest.raises(InputError, match="cannot be decompressed"):
        read_class_mask(tmp_path)


def test_voxel_size_must_be_stated(tmp_path: Path) -> None:
    write_truth(tmp_path, TRUTH, voxel_size=1.0, volumes={"occupancy_mask": MASK})
    with pytest.raises(InputError) as caught:
        read_voxel_size(tmp_path)
    assert caught.value.code == 31


def test_unknown_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown volumes"):
        write_truth(tmp_path, TRUTH, voxel_size=10.0, volumes={"mask": MASK})


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="1 names"):
        Truth(names=("a",), positions=np.zeros((2, 3)))


def test_compressed_list_is_read(tmp_path: Path) -> None:
    (tmp_path / "particle_locations.txt.gz").write_bytes(gzip.compress(b"1bxn 8 5 3 0 0 0\n"))
    assert read_truth(tmp_path).positions.tolist() == [[3, 5, 8]]


def folder_of_2019(folder: Path) -> Path:
    write_truth(folder, TRUTH, voxel_size=10.0, volumes={"occupancy_mask": MASK})
    (folder / "occupancy_mask.mrc").rename(folder / "hitbox_9.mrc")
    (folder / "particle_locations.txt").unlink()
    (folder / "particle_locations_model_9.txt").write_text("1bxn   3   5   8  -45 81 -72\n4d8q  0  1  2  1 2 3\n")
    return folder


def test_folder_of_2019_has_other_names_and_another_axis_order(tmp_path: Path) -> None:
    folder = folder_of_2019(tmp_path)
    truth = read_truth(folder)
    assert truth.positions.tolist() == [[3, 5, 8], [0, 1, 2]]
    assert read_truth(folder, order="xyz").positions.tolist() == [[8, 5, 3], [2, 1, 0]]
    listed = folder / "particle_locations_model_9.txt"
    (folder / f"{listed.name}.gz").write_bytes(gzip.compress(listed.read_bytes()))
    listed.unlink()
    assert read_truth(folder).positions.tolist() == truth.positions.tolist()
    np.testing.assert_array_equal(read_occupancy_mask(folder, truth), MASK)
    (folder / "hitbox_9.mrc.gz").write_bytes(gzip.compress((folder / "hitbox_9.mrc").read_bytes()))
    (folder / "hitbox_9.mrc").unlink()
    np.testing.assert_array_equal(read_occupancy_mask(folder, truth), MASK)


def test_two_tomograms_of_2019_in_a_folder_are_refused(tmp_path: Path) -> None:
    folder = folder_of_2019(tmp_path)
    (folder / "particle_locations_model_8.txt").write_text("1bxn 1 2 3\n")
    with pytest.raises(InputError, match=r"particle_locations_model_8.txt, particle_locations_model_9.txt"):
        read_truth(folder, order="zyx")


def test_a_mask_has_a_name(tmp_path: Path) -> None:
    opened = np.where(MASK == 1, 0, MASK)
    write_truth(tmp_path, TRUTH, voxel_size=10.0, volumes={"occupancy_mask": MASK, "occupancy_mask_open": opened})
    np.testing.assert_array_equal(read_occupancy_mask(tmp_path, TRUTH, name="occupancy_mask_open"), opened)
    with pytest.raises(InputError, match=r"occupancy_bbox\.mrc: not found"):
        read_occupancy_mask(tmp_path, TRUTH, name="occupancy_bbox")
