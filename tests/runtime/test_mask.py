from pathlib import Path

import numpy as np
import pytest

from picker_runtime.errors import InputError
from picker_runtime.mask import Mask
from picker_runtime.mrc import write_mrc
from picker_runtime.tiling import plan
from picker_runtime.tomogram import Tomogram

SHAPE = (16, 20, 40)
TOMOGRAM = Tomogram.from_array(np.zeros(SHAPE, np.float32), 10.0)
TILES = plan(SHAPE, tile=(16, 20, 20), halo=0, margin=0, alignment=4, output_stride=1, min_cells=1)


def half() -> np.ndarray:
    mask = np.zeros(SHAPE, np.int8)
    mask[:, 5:, 30:] = 1
    return mask


def test_tiles_and_positions_of_the_mask_are_known() -> None:
    with Mask(half(), like=TOMOGRAM) as mask:
        assert [mask.touches(tile) for tile in TILES] == [False, True]
        positions = np.array([[0.0, 4.4, 35], [0, 4.6, 35], [15.4, 19.4, 29.6], [8, 10, 29.4]])
        assert mask.holds(TILES[1], positions).tolist() == [False, True, True, False]


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float32])
def test_whatever_is_not_zero_is_in_the_mask(dtype: type) -> None:
    volume = np.zeros(SHAPE, dtype)
    volume[3, 3, 3] = -1
    with Mask(volume, like=TOMOGRAM) as mask:
        assert [mask.touches(tile) for tile in TILES] == [True, False]


def test_what_is_not_a_number_is_outside() -> None:
    with Mask(np.full(SHAPE, np.nan, np.float32), like=TOMOGRAM) as mask:
        assert not mask.touches(TILES[0])


def test_a_mask_file_needs_no_voxel_size_of_its_own(tmp_path: Path) -> None:
    write_mrc(tmp_path / "mask.mrc", half(), 1.0)
    with Mask(tmp_path / "mask.mrc", like=TOMOGRAM) as mask:
        assert [mask.touches(tile) for tile in TILES] == [False, True]


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"E45 mask: \(16, 20, 39\)"):
        Mask(half()[:, :, 1:], like=TOMOGRAM)
