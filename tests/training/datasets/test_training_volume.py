"""Which slab of a reconstruction the truth covers, for every layout of the challenges' folders."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from picker_runtime.errors import InputError
from picker_runtime.geometry import Triple
from picker_runtime.mrc import write_mrc
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.training_volume import training_volume
from picker_training.datasets.truth import Truth

CENTRES = np.array([[2.0, 4, 6], [5, 8, 3], [7, 1, 1]])


def make(
    folder: Path, depth: int, mask_shape: Triple | None, *, at: int = 0, centres: np.ndarray = CENTRES, name: str = ""
) -> Path:
    """Write a reconstruction and masks whose particles lie `at` slices above their listed z."""
    volumes = {}
    if mask_shape:
        mask = np.zeros(mask_shape, np.int16)
        for number, (z, y, x) in enumerate(CENTRES.astype(int), start=1):
            mask[z + at, y, x] = number
        volumes[name or "occupancy_mask"] = mask
    truth = Truth(names=("1bxn",) * len(centres), positions=centres)
    write_truth(folder, truth, voxel_size=10.0, volumes=volumes)
    with (folder / "reconstruction.mrc").open("wb") as stream:
        write_mrc(stream, np.zeros((depth, 10, 10), np.float32), 10.0)
    return folder


@pytest.mark.parametrize(
    "depth, slices, offset", [(512, 200, 156), (512, 180, 166), (40, 40, 0), (40, 20, 10), (512, 512, 0)]
)
def test_the_slab_is_the_middle_that_the_masks_cover(tmp_path: Path, depth: int, slices: int, offset: int) -> None:
    found = training_volume(make(tmp_path, depth, (slices, 10, 10)))
    assert (found.z_offset, found.slices, found.shape) == (offset, slices, (depth, 10, 10))
    assert found.path == tmp_path / "reconstruction.mrc"
    assert (found.slab.start, found.slab.stop) == ((offset, 0, 0), (offset + slices, 10, 10))


@pytest.mark.parametrize("offset, slices", [(156, 200), (166, 180)])
def test_masks_as_deep_as_the_reconstruction_tell_by_their_particles(tmp_path: Path, offset: int, slices: int) -> None:
    found = training_volume(make(tmp_path, 512, (512, 10, 10), at=offset))
    assert (found.z_offset, found.slices) == (offset, slices)


def test_listed_centres_move_into_the_reconstruction(tmp_path: Path) -> None:
    found = training_volume(make(tmp_path, 40, (20, 10, 10)))
    moved = found.placed(Truth(names=("a",), positions=np.array([[1.5, 2, 3]])))
    assert moved.positions.tolist() == [[11.5, 2, 3]]


def test_a_list_of_2019_is_read_z_first(tmp_path: Path) -> None:
    folder = make(tmp_path, 512, (512, 10, 10), at=156)
    (folder / "particle_locations.txt").rename(folder / "particle_locations_model_0.txt")
    rows = "".join(f"1bxn {z:g} {y:g} {x:g}\n" for z, y, x in CENTRES)
    (folder / "particle_locations_model_0.txt").write_text(rows)
    assert training_volume(folder, year=2019).z_offset == 156
    with pytest.raises(InputError, match="listed centres lie on their own particle"):
        training_volume(folder, year=2020)


def test_without_masks_the_year_decides(tmp_path: Path) -> None:
    folder = make(tmp_path, 512, None)
    assert [training_volume(folder, year=year).z_offset for year in (2019, 2020, 2021)] == [156, 156, 166]
    assert training_volume(folder, year=2021).slices == 180
    assert training_volume(folder, z_offset=100).slices == 312
    with pytest.raises(InputError, match=r"no masks .* 512 slices .*--z-offset N"):
        training_volume(folder)
    with pytest.raises(InputError, match="no masks"):
        training_volume(make(tmp_path / "other", 200, None), year=2020)


def test_another_mask_tells_as_well(tmp_path: Path) -> None:
    assert training_volume(make(tmp_path, 40, (20, 10, 10), name="class_mask")).z_offset == 10


def test_a_compressed_mask_tells_too(tmp_path: Path) -> None:
    folder = make(tmp_path, 40, (20, 10, 10))
    content = (folder / "occupancy_mask.mrc").read_bytes()
    (folder / "occupancy_mask.mrc").unlink()
    (folder / "occupancy_mask.mrc.gz").write_bytes(gzip.compress(content))
    assert training_volume(folder).z_offset == 10


def test_a_given_offset_is_taken(tmp_path: Path) -> None:
    folder = make(tmp_path, 41, (20, 10, 10))
    assert training_volume(folder, z_offset=3).z_offset == 3
    with pytest.raises(InputError, match="20 slices from 22 on do not fit into 41"):
        training_volume(folder, z_offset=22)
    with pytest.raises(InputError, match="from -1 on"):
        training_volume(folder, z_offset=-1)


@pytest.mark.parametrize(
    "depth, mask, problem",
    [
        (41, (20, 10, 10), "masks of 20 slices are not the middle of 41"),
        (20, (40, 10, 10), "masks of 40 slices are not the middle of 20"),
        (40, (20, 10, 12), "the reconstruction has 10x10x40 voxels, occupancy_mask 12x10x20"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, depth: int, mask: Triple, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        training_volume(make(tmp_path, depth, mask))
    assert caught.value.code == 46
    assert caught.value.fix


def test_deep_masks_that_fit_no_offset_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only 0 of 3 listed centres"):
        training_volume(make(tmp_path / "a", 512, (512, 10, 10), at=100))
    with pytest.raises(InputError, match="class_mask has all 512 slices"):
        training_volume(make(tmp_path / "b", 512, (512, 10, 10), name="class_mask"))
    assert training_volume(make(tmp_path / "c", 30, (30, 10, 10), name="class_mask")).z_offset == 0


def test_absent_and_compressed_reconstructions_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path, 40, (20, 10, 10))
    (folder / "reconstruction.mrc").rename(folder / "reconstruction.mrc.gz")
    with pytest.raises(InputError, match=r"gunzip -k reconstruction.mrc.gz"):
        training_volume(folder)
    (folder / "reconstruction.mrc.gz").unlink()
    with pytest.raises(InputError, match=r"reconstruction\.mrc: not found"):
        training_volume(folder)
