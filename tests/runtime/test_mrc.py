import fcntl
import io
import os
import signal
import tracemalloc
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from badinput.mrc_block import header
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.errors import InputError
from picker_runtime.geometry import Box
from picker_runtime.mrc import MrcFile, read_header, write_mrc

TYPES = [np.int8, np.int16, np.float32, np.uint16, np.float16]
IMOD = 1146047817
WHOLE = Box.whole((20, 24, 28))


def volume(dtype: type[np.generic], shape: tuple[int, int, int] = (20, 24, 28), seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(0, 30, shape) + (200 if dtype == np.uint16 else 0)).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_mrcfile_reads_what_we_write(dtype: type[np.generic], tmp_path: Path) -> None:
    array = volume(dtype)
    write_mrc(tmp_path / "a.mrc", array, 7.25)
    if dtype != np.float16:  # whose deviation mrcfile's own check overflows on
        assert mrcfile.validate(tmp_path / "a.mrc", print_file=io.StringIO())
    with mrcfile.open(tmp_path / "a.mrc") as file:
        assert file.data.dtype == dtype and np.array_equal(file.data, array)
        assert [file.voxel_size[axis] for axis in "xyz"] == pytest.approx([7.25] * 3)
        assert file.header.dmin == array.min() and file.header.dmax == array.max()
        assert file.header.dmean == pytest.approx(array.mean(dtype=np.float64), rel=1e-6)
        assert file.header.rms == pytest.approx(array.std(dtype=np.float64), rel=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
def test_we_read_what_mrcfile_writes(dtype: type[np.generic], tmp_path: Path) -> None:
    array = volume(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(array)
        file.set_extended_header(np.frombuffer(b"x" * 640, "V1"))
        file.voxel_size = (10.1, 10.2, 10.3)
    with MrcFile(tmp_path / "a.mrc") as ours:
        assert ours.header.voxel_size_angstrom == pytest.approx((10.3, 10.2, 10.1))
        assert ours.header.warnings == () and ours.header.data_offset == 1024 + 640
        values = ours.read(Box.whole(array.shape))
        part = ours.read(Box((3, 5, 7), (11, 24, 20)))
    assert values.dtype == np.float32 and np.array_equal(values, array.astype(np.float32))
    assert np.array_equal(part, array[3:11, 5:24, 7:20].astype(np.float32))


@settings(max_examples=60)
@given(
    dtype=st.sampled_from(TYPES), order=st.sampled_from("<>"), shape=st.tuples(*[st.integers(1, 6)] * 3), data=st.data()
)
def test_any_window_in_any_type_and_byte_order(
    dtype: type[np.generic],
    order: str,
    shape: tuple[int, int, int],
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    array = volume(dtype, shape).astype(np.dtype(order + np.dtype(dtype).str[1:]))
    extended = data.draw(st.integers(0, 100))
    mode = {np.int8: 0, np.int16: 1, np.float32: 2, np.uint16: 6, np.float16: 12}[dtype]
    path = tmp_path_factory.mktemp("mrc") / "a.mrc"
    path.write_bytes(header(order=order, shape=shape, mode=mode, nsymbt=extended) + bytes(extended) + array.tobytes())
    start = [data.draw(st.integers(0, n)) for n in shape]
    stop = [data.draw(st.integers(a, n)) for a, n in zip(start, shape, strict=True)]
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    with MrcFile(path) as file:
        assert file.header.dtype == array.dtype and file.header.shape == shape
        assert np.array_equal(file.read(box), array[box.slices].astype(np.float32))


def test_rows_are_read_in_bounded_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = volume(np.float32)
    write_mrc(tmp_path / "a.mrc", array, 10)
    asked: list[int] = []
    monkeypatch.setattr("picker_runtime.file_voxels.WINDOW_BYTES", 28 * 4 * 5)
    true_preadv = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        asked.append(buffers[0].nbytes)
        buffers[0] = buffers[0][: 100 + 28]  # the disk gives less than was asked for
        return true_preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    with MrcFile(tmp_path / "a.mrc") as file:
        assert np.array_equal(file.read(WHOLE), array)
    assert max(asked) == 28 * 4 * 5


def test_a_box_outside_is_an_error_of_the_caller(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume(np.int8), 10)
    with MrcFile(tmp_path / "a.mrc") as file, pytest.raises(ValueError, match="leaves the volume"):
        file.read(Box((0, 0, -1), (2, 2, 2)))


@pytest.mark.parametrize(
    ("imod", "mode0", "unsigned", "assumed"),
    [
        ((0, 0), None, False, True),
        ((IMOD, 1), None, False, False),
        ((IMOD, 9), None, False, False),
        ((IMOD, 0), None, True, False),
        ((IMOD, 8), None, True, False),
        ((0, 0), "unsigned", True, False),
        ((IMOD, 0), "signed", False, False),
        ((IMOD, 1), "unsigned", True, False),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_sign_of_bytes(
    imod: tuple[int, int], mode0: None, unsigned: bool, assumed: bool, order: str, tmp_path: Path
) -> None:
    raw = np.arange(20 * 24 * 28).astype(np.uint8)
    (tmp_path / "a.mrc").write_bytes(header(mode=0, imod=imod, order=order) + raw.tobytes())
    with MrcFile(tmp_path / "a.mrc", mode0=mode0) as file:
        assert file.header.unsigned is unsigned and file.header.sign_is_assumed is assumed
        assert np.array_equal(file.read(WHOLE).ravel(), raw if unsigned else raw.view(np.int8))


def test_float16_with_signalling_nan_and_infinity_makes_no_warning(tmp_path: Path) -> None:
    bits = np.full((20, 24, 28), 0x3C00, np.uint16)
    bits[0, 0, :4] = 0x7D00, 0xFD00, 0x7C00, 0xFC00
    (tmp_path / "a.mrc").write_bytes(header(mode=12) + bits.tobytes())
    with MrcFile(tmp_path / "a.mrc") as file:
        values = file.read(WHOLE)
    assert np.isnan(values[0, 0, :2]).all() and values[0, 0, 2:5].tolist() == [np.inf, -np.inf, 1.0]


def test_offsets_beyond_four_gigabytes(tmp_path: Path) -> None:
    shape = (300, 4096, 4096)  # 20 GB, sparse
    path = tmp_path / "a.mrc"
    path.write_bytes(header(shape=shape))
    os.truncate(path, 1024 + 4 * 300 * 4096**2)
    with path.open("r+b") as stream:
        stream.seek(1024 + 4 * ((299 * 4096 + 4095) * 4096 + 4090))
        stream.write(np.arange(6, dtype=np.float32).tobytes())
    tracemalloc.start()
    try:
        with MrcFile(path) as file:
            values = file.read(Box((298, 4094, 4090), (300, 4096, 4096)))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert values[1, 1].tolist() == [0, 1, 2, 3, 4, 5] and not values[0].any()


def test_a_file_that_shrinks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, volume(np.float32), 10)
    with MrcFile(path) as file:
        os.truncate(path, 5000)
        with pytest.raises(InputError) as caught:
            file.read(WHOLE)
    assert caught.value.code == 13


@pytest.mark.parametrize("change", ["touched", "grown", "replaced", "removed", "nothing"])
def test_a_file_that_changes_is_noticed(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, volume(np.int8), 10)
    with MrcFile(path) as file:
        if change == "touched":
            os.utime(path, ns=(1, 1))
        elif change == "grown":
            os.truncate(path, path.stat().st_size + 1)
        elif change == "replaced":
            (tmp_path / "b").write_bytes(path.read_bytes())
            status = path.stat()
            os.utime(tmp_path / "b", ns=(status.st_atime_ns, status.st_mtime_ns))
            (tmp_path / "b").replace(path)
        elif change == "removed":
            path.unlink()
        if change == "nothing":
            file.check_unchanged()
        else:
            with pytest.raises(InputError) as caught:
                file.check_unchanged()
            assert caught.value.code == 13


def test_no_permission_and_disk_errors_are_input_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mrc(tmp_path / "a.mrc", volume(np.int8), 10)

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with MrcFile(tmp_path / "a.mrc") as file:
        monkeypatch.setattr(os, "preadv", fail)
        with pytest.raises(InputError, match=r"E12 a\.mrc: .*Input/output error"):
            file.read(WHOLE)
    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(InputError, match="E12"):
        read_header(tmp_path / "a.mrc")


def test_a_file_that_another_program_has_on_lease_is_asked_for(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", volume(np.int8), 10)
    holder = os.open(tmp_path / "a.mrc", os.O_RDWR)

    def give_back(*_: object) -> None:
        fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    before = signal.signal(signal.SIGIO, give_back)
    try:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"no leases here: {error}")
        assert read_header(tmp_path / "a.mrc").shape == (20, 24, 28)
    finally:
        signal.signal(signal.SIGIO, before)
        os.close(holder)


@pytest.mark.parametrize("array", [np.zeros((20, 20)), np.zeros((20, 20, 20)), np.zeros((20, 20, 20), np.uint8)])
def test_the_writer_takes_only_what_the_format_holds(array: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an MRC volume"):
        write_mrc(tmp_path / "a.mrc", array, 10)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_the_writer_takes_a_stream_any_memory_order_and_non_finite_voxels(odd: float) -> None:
    array = np.asfortranarray(volume(np.float16))
    array[0, 0, :2] = odd
    stream = io.BytesIO()
    write_mrc(stream, array, 10)
    assert np.array_equal(np.frombuffer(stream.getvalue()[1024:], "<f2").reshape(array.shape), array, equal_nan=True)
