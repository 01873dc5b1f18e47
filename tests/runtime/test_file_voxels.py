import os
from pathlib import Path

import numpy as np
import pytest

from picker_runtime.errors import InputError
from picker_runtime.file_voxels import FileVoxels
from picker_runtime.geometry import Box
from picker_runtime.memory_file import MemoryFile
from picker_runtime.mrc import MrcFile, write_mrc
from picker_runtime.tomogram import Tomogram

SHAPE = (16, 17, 18)
VOLUME = np.random.default_rng(0).integers(-100, 100, SHAPE).astype(np.int16)


def bytes_from(voxels: FileVoxels, row: int, count: int) -> np.ndarray:
    target = np.zeros(count * voxels.row_bytes, np.uint8)
    voxels.fill(target, first_row=row)
    return target.view(voxels.dtype).reshape(count, -1)


def test_rows_come_as_they_are_stored(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME, 10.0)
    with Tomogram.open(tmp_path / "a.mrc") as tomogram:
        voxels = tomogram.raw()
        assert (voxels.shape, voxels.dtype, voxels.rows, voxels.name) == (SHAPE, VOLUME.dtype, 16 * 17, "a.mrc")
        np.testing.assert_array_equal(bytes_from(voxels, 20, 3), VOLUME.reshape(-1, 18)[20:23])


def test_a_duplicate_outlives_its_file(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME, 10.0)
    with MrcFile(tmp_path / "a.mrc") as file:
        own = file.raw().duplicate()
        assert own.identity == file.raw().identity
    np.testing.assert_array_equal(own.read(Box.whole(SHAPE)), VOLUME)
    own.close()


def test_another_file_or_another_content_has_another_identity(tmp_path: Path) -> None:
    identities = set()
    for name in ("a.mrc", "b.mrc"):
        write_mrc(tmp_path / name, VOLUME, 10.0)
        with MrcFile(tmp_path / name) as file:
            identities.add(file.raw().identity)
    write_mrc(tmp_path / "a.mrc", VOLUME, 10.0)
    os.utime(tmp_path / "a.mrc", (1, 1))
    with MrcFile(tmp_path / "a.mrc") as file:
        identities.add(file.raw().identity)
    assert len(identities) == 3


@pytest.mark.parametrize("dtype", ["i1", "u1", ">i2", "u2", "f2", ">f4", "f8", "i4", "u8"])
def test_an_array_becomes_a_file_in_memory_that_reads_the_same(dtype: str) -> None:
    array = VOLUME.astype(dtype)[::-1, :, ::-1]  # not contiguous
    with Tomogram.from_array(array, 10.0, "mine") as tomogram:
        voxels = tomogram.raw()
        assert voxels.dtype == (dtype if dtype not in ("f8", "i4", "u8") else "f4")
        assert tomogram.raw() is voxels
        np.testing.assert_array_equal(voxels.read(Box.whole(array.shape)), tomogram.read(Box.whole(array.shape)))


def test_no_memory_for_the_copy_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InputError, match="E12 mine: cannot be opened: No space left"):
        MemoryFile(VOLUME, name="mine")
