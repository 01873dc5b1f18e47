import json
import os
from pathlib import Path

import numpy as np
import pytest
from badinput.corpus import DATA, NOISE
from badinput.mrc_block import SHAPE, header
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.errors import InputError, UsageError
from picker_runtime.geometry import Box
from picker_runtime.mrc import write_mrc
from picker_runtime.tomogram import Tomogram, check_model_voxel_size

REAL = Path(os.environ.get("PICKER_SHARED", Path(__file__).parents[3] / "shared")) / "real" / "tomograms"


def open_header(folder: Path, content: bytes, **options: object) -> Tomogram:
    (folder / "a.mrc").write_bytes(content)
    return Tomogram.open(folder / "a.mrc", **options)  # type: ignore[arg-type]


def test_open_gives_name_shape_size_and_provenance(tmp_path: Path) -> None:
    write_mrc(tmp_path / "TS_01.rec", NOISE, 10.0)
    with Tomogram.open(tmp_path / "TS_01.rec") as tomogram:
        assert (tomogram.name, tomogram.shape, tomogram.voxel_size) == ("TS_01.rec", SHAPE, 10.0)
        assert tomogram.warnings == []
        assert tomogram.header["mode"] == 2 and tomogram.header["labels"] == ["picker"]
        assert json.loads(json.dumps(tomogram.header, allow_nan=False)) == tomogram.header


def test_provenance_is_valid_json_whatever_the_header_says(tmp_path: Path) -> None:
    block = bytearray(header(cell=(float("nan"), float("inf"), 0), labels=b"\x1b[2J\xff\0\n"))
    block[196:200] = np.float32("nan").tobytes()
    with open_header(tmp_path, bytes(block) + DATA, voxel_size=10) as tomogram:
        json.dumps(tomogram.header, allow_nan=False)
        assert tomogram.header["labels"] == [r"\x1b[2J\xff\x00\n"]


def test_nearly_equal_axes_are_averaged(tmp_path: Path) -> None:
    with open_header(tmp_path, header(cell=(280, 240, 201.8)) + DATA) as tomogram:
        assert tomogram.voxel_size == pytest.approx((10 + 10 + 10.09) / 3)


@pytest.mark.parametrize(
    ("cell", "warning"),
    [
        ((0, 0, 0), None),
        ((280, 240, 200), None),
        ((280.01, 240, 200), None),
        ((294.56, 252.48, 210.4), "the header says 10.52 A"),
        ((280, 240, 400), "the header says 10 x 10 x 20 A"),
        ((28, 24, 20), "the header says 1 A"),
        ((float("nan"),) * 3, None),
    ],
)
def test_a_given_voxel_size_wins(cell: tuple[float, float, float], warning: str | None, tmp_path: Path) -> None:
    with open_header(tmp_path, header(cell=cell) + DATA, voxel_size=10) as tomogram:
        assert tomogram.voxel_size == 10.0
        assert [warning in w for w in tomogram.warnings if warning] == ([True] if warning else [])
        assert len(tomogram.warnings) == bool(warning)


@pytest.mark.parametrize("value", [0, -10, 0.49, 100.1, float("nan"), float("inf")])
def test_an_impossible_option_is_a_usage_error(value: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_header(tmp_path, header() + DATA, voxel_size=value)
    assert caught.value.code == 80
    with pytest.raises(UsageError):
        Tomogram.from_array(NOISE, value)
    with pytest.raises(UsageError):
        open_header(tmp_path, header() + DATA, mode0="maybe")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header() + DATA + b"tail", "4 bytes after the data"),
        (header(map_id=bytes(4)) + DATA, "no MAP"),
        (header(stamp=bytes(4)) + DATA, "machine stamp"),
    ],
)
def test_odd_headers_are_warned_of_once(content: bytes, words: str, tmp_path: Path) -> None:
    with open_header(tmp_path, content) as tomogram:
        assert len(tomogram.warnings) == 1 and words in tomogram.warnings[0]


def test_only_bytes_without_a_word_on_their_sign_are_doubted(tmp_path: Path) -> None:
    raw = np.zeros(SHAPE, np.int8).tobytes()
    stamped = header(mode=0, imod=(1146047817, 1))
    for content, mode0, doubted in [
        (header(mode=0), None, True),
        (header(mode=0), "signed", False),
        (stamped, None, False),
        (header(), None, False),
    ]:
        with open_header(tmp_path, content + 4 * raw, mode0=mode0) as tomogram:
            assert tomogram.sign_is_assumed is doubted


def test_a_tilt_series_is_suspected(tmp_path: Path) -> None:
    shape = (41, 3838, 3710)
    for ispg, count in ((0, 1), (1, 0)):
        (tmp_path / "a.mrc").write_bytes(header(shape=shape, ispg=ispg))
        os.truncate(tmp_path / "a.mrc", 1024 + 4 * 41 * 3838 * 3710)
        with Tomogram.open(tmp_path / "a.mrc") as tomogram:
            assert sum("tilt series" in warning for warning in tomogram.warnings) == count


def numpy_reflection(length: int, start: int, stop: int) -> np.ndarray:
    """Return where one axis is read: its indices padded once and once more, so that no other rule is ever needed."""
    index, origin = np.arange(length), 0
    while origin > start or index.size + origin < stop:
        more = index.size - 1
        index, origin = np.pad(index, more, mode="reflect"), origin - more
    return index[start - origin : stop - origin]


EDGES = st.tuples(st.integers(-70, 70), st.integers(0, 40))


@settings(max_examples=60)
@given(z=EDGES, y=EDGES, x=EDGES)
def test_reading_outside_reflects_as_numpy_does(z: tuple[int, int], y: tuple[int, int], x: tuple[int, int]) -> None:
    small = NOISE[:16, :17, :18]
    box = Box((z[0], y[0], x[0]), (z[0] + z[1], y[0] + y[1], x[0] + x[1]))
    values = Tomogram.from_array(small, 10).read(box)
    assert values.dtype == np.float32 and values.flags.c_contiguous
    index = (numpy_reflection(*axis) for axis in zip(small.shape, box.start, box.stop, strict=True))
    assert np.array_equal(values, small[np.ix_(*index)])


def test_file_and_array_read_the_same(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", NOISE, 10)
    with Tomogram.open(tmp_path / "a.mrc") as file, Tomogram.from_array(NOISE, 10) as array:
        for box in (Box((-5, 3, 20), (30, 9, 60)), Box.whole(SHAPE), Box((3, 3, 3), (3, 9, 9))):
            assert np.array_equal(file.read(box), array.read(box))


def test_reading_never_lends_the_array_itself() -> None:
    array = NOISE.copy()
    Tomogram.from_array(array, 10).read(Box.whole(SHAPE))[:] = 0
    assert np.array_equal(array, NOISE)


def test_non_finite_voxels_are_kept() -> None:
    array = NOISE.astype(np.float64)
    array[0, 0, :3] = np.nan, -np.inf, 1e300
    assert np.array_equal(
        Tomogram.from_array(array, 10).read(Box((0, 0, 0), (1, 1, 3))).ravel(),
        [np.nan, -np.inf, np.inf],
        equal_nan=True,
    )


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.zeros((32, 32)), 33),
        (np.zeros((2, 32, 32, 32)), 34),
        (np.zeros((32, 15, 32)), 36),
        (np.zeros((32, 32, 32), complex), 22),
        (np.zeros((32, 32, 32), object), 22),
    ],
)
def test_arrays_that_are_no_tomogram(array: np.ndarray, code: int) -> None:
    with pytest.raises(InputError) as caught:
        Tomogram.from_array(array, 10)
    assert caught.value.code == code


@pytest.mark.parametrize(("size", "fits"), [(10.0, True), (9.81, True), (10.19, True), (9.79, False), (10.52, False)])
def test_the_model_takes_two_percent(size: float, fits: bool) -> None:
    if fits:
        check_model_voxel_size(size, 10.0)
    else:
        with pytest.raises(InputError, match=f"{size} A.*--voxel-size") as caught:
            check_model_voxel_size(size, 10.0, subject="a.mrc")
        assert caught.value.code == 30 and caught.value.subject == "a.mrc"


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", NOISE, 10)
    with Tomogram.open(tmp_path / "a.mrc") as tomogram:
        tomogram.check_unchanged()
        os.utime(tmp_path / "a.mrc", ns=(1, 1))
        with pytest.raises(InputError) as caught:
            tomogram.check_unchanged()
    assert caught.value.code == 13
    Tomogram.from_array(NOISE, 10).check_unchanged()


@pytest.mark.parametrize(
    ("name", "shape", "size", "low"),
    [
        ("13pf_MT.mrc", (36, 206, 94), 10.52, None),
        ("14pf_MT.mrc", (44, 136, 84), 10.52, None),
        ("tardis_mrc3D_int8.mrc", (78, 64, 32), 23.2, -115),
        ("visfd_test_blob_detect.rec", (27, 32, 22), 19.3, None),
        ("visfd_test_image_membrane.rec", (16, 16, 16), 19.7, None),
    ],
)
def test_real_tomograms(name: str, shape: tuple[int, int, int], size: float, low: float | None) -> None:
    if not (REAL / name).exists():
        pytest.skip(f"real data not here: {REAL / name}")
    with Tomogram.open(REAL / name) as tomogram:
        values = tomogram.read(Box.whole(shape))
        assert tomogram.shape == shape and tomogram.voxel_size == pytest.approx(size, rel=0.005)
        with pytest.raises(InputError, match=r"E30 .* only if the size is wrong, give the true one"):
            check_model_voxel_size(tomogram.voxel_size, 10, subject=tomogram.name)
    assert values.std() > 0 and low in (None, values.min())
    with Tomogram.open(REAL / name, voxel_size=10) as tomogram:
        assert tomogram.voxel_size == 10


@pytest.mark.parametrize(("name", "what"), [("13pf_MT.tif", "TIFF"), ("boxmanager_sim_crop.mrc.gz", "gzip")])
def test_real_files_that_are_no_mrc(name: str, what: str) -> None:
    if not (REAL / name).exists():
        pytest.skip(f"real data not here: {REAL / name}")
    with pytest.raises(InputError, match=f"E11 {name}: .*{what}"):
        Tomogram.open(REAL / name)
