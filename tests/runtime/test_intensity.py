import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker_runtime.errors import InputError
from picker_runtime.geometry import Box
from picker_runtime.intensity import NormalisedSource, measure, measure_array, windows
from picker_runtime.tomogram import Tomogram

SHAPES = st.tuples(st.integers(16, 2000), st.integers(16, 3000), st.integers(16, 70_000))


def noise(shape: tuple[int, ...] = (24, 40, 56), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@settings(max_examples=100)
@given(shape=SHAPES)
def test_windows_are_bounded_inside_and_of_whole_rows(shape: tuple[int, int, int]) -> None:
    boxes = windows(shape)
    assert 1 <= len(boxes) <= 256 and boxes == windows(shape)
    whole = Box.whole(shape)
    for box in boxes:
        assert box.intersection(whole) == box and box.shape[2] == shape[2] and box.shape[0] == 1
        assert 0 < box.voxels <= max(65_536, shape[2])


@pytest.mark.parametrize("shape", [(16, 16, 16), (256, 256, 256), (60, 500, 500), (100, 181, 70)])
def test_a_small_volume_is_sampled_whole(shape: tuple[int, int, int]) -> None:
    seen = np.zeros(shape, np.uint8)
    for box in windows(shape):
        seen[box.slices] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("shape", [(200, 512, 512), (256, 1024, 1024), (1024, 256, 1024), (512, 4096, 4096)])
def test_a_large_volume_is_sampled_evenly(shape: tuple[int, int, int]) -> None:
    boxes = windows(shape)
    rows = np.zeros((16, shape[1] // 16))
    for box in boxes:
        rows.ravel()[box.start[1] : box.stop[1]] += 1
    assert len(boxes) == 256
    assert len({box.start[0] for box in boxes}) == min(256, shape[0])
    share = rows.mean(1)[4:-4] / rows.mean()
    assert share.min() > 0.6 and share.max() < 1.7


@pytest.mark.parametrize("padding", [0.0, 0.3])
@pytest.mark.parametrize("mean", [0.0, 0.4, -17.5, 60.0])
@pytest.mark.parametrize("sigma", [8.0, 8.15, 8.9, 12.0, 23.5, 42.0])
def test_bytes_give_the_sigma_of_their_noise(sigma: float, mean: float, padding: float) -> None:
    if mean + 3 * sigma > 127:
        mean = 0.0
    values = np.clip(np.round(np.random.default_rng(1).normal(mean, sigma, 400_000)), -128, 127).astype(np.int8)
    values[: int(padding * values.size)] = 0
    intensity = measure_array(values)
    assert intensity.scale == pytest.approx(sigma, rel=0.08)
    assert abs(intensity.center - mean) < 0.15 * sigma
    assert intensity.fill == (0.0 if padding else None)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int16])
@pytest.mark.parametrize("padding", [0.0, 0.02, 0.6])
def test_padding_does_not_count(dtype: type[np.generic], padding: float) -> None:
    values = (noise() * 300 + 5000).astype(dtype)
    flat = values.ravel()
    flat[: int(padding * flat.size)] = 1000
    intensity = measure_array(values)
    assert intensity.center == pytest.approx(5000, abs=10) and intensity.scale == pytest.approx(300, rel=0.03)
    assert intensity.fill == (1000.0 if padding else None)


def test_two_paddings_are_both_left_out_and_the_commoner_is_named() -> None:
    values = noise().ravel()
    values[:20_000], values[20_000:30_000] = -50, 70
    intensity = measure_array(values)
    assert intensity.fill == -50 and intensity.scale == pytest.approx(1, rel=0.05) and abs(intensity.center) < 0.05


def test_one_percent_of_a_value_is_not_padding() -> None:
    values = noise((10, 100, 100)).ravel()
    values[:1000] = 9.0
    assert measure_array(values).fill is None
    values[1000] = 9.0
    assert measure_array(values).fill == 9.0


@pytest.mark.parametrize("flip", [1, -1])
def test_a_common_value_with_a_common_neighbour_is_not_padding(flip: int) -> None:
    values = np.repeat(np.array([0, 1, 2, 3, 4]) * flip, [300, 100, 90, 80, 70])
    assert measure_array(values).fill is None


def test_without_ties_it_is_median_and_mad() -> None:
    values = noise()
    intensity = measure_array(values)
    median = np.median(values)
    assert intensity.center == pytest.approx(median, abs=1e-6)
    assert intensity.scale == pytest.approx(1.4826 * np.median(np.abs(values - median)), rel=1e-3)


def test_gain_and_offset_carry_through() -> None:
    values, other = measure_array(noise()), measure_array(noise() * 37 - 1200)
    assert other.center == pytest.approx(37 * values.center - 1200, abs=1e-3)
    assert other.scale == pytest.approx(37 * values.scale, rel=1e-5)


@pytest.mark.parametrize(("share", "code"), [(0.0099, None), (0.0101, 41), (1.0, 41)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_voxels_are_left_out_up_to_one_percent(share: float, code: int | None, bad: float) -> None:
    values = noise((10, 100, 100)).ravel()
    values[: int(share * values.size)] = bad
    if code is None:
        intensity = measure_array(values)
        assert intensity.non_finite_fraction == pytest.approx(share, rel=1e-3)
        assert intensity.scale == pytest.approx(1, rel=0.02)
    else:
        with pytest.raises(InputError, match=f"E{code} tomo: "):
            measure_array(values, subject="tomo")


@pytest.mark.parametrize(
    "values",
    [np.zeros(1000), np.full(1000, 7, np.int8), np.full(1000, -3.3), noise() * 1e-42, np.sign(noise()) * 3.3e38],
)
def test_no_signal_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        measure_array(values)
    assert caught.value.code == 42


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="E41"):
        measure_array(np.zeros(0))


def test_a_tomogram_is_measured_as_its_array() -> None:
    values = noise()
    assert measure(Tomogram.from_array(values, 10)) == measure_array(values)


def test_what_looks_wrong_is_warned_of() -> None:
    values = noise()
    values[0, 0, :5] = np.nan
    tomogram = Tomogram.from_array(values, 10)
    measure(tomogram)
    assert len(tomogram.warnings) == 1 and "0.0093 %" in tomogram.warnings[0]


@pytest.mark.parametrize(
    ("sigma", "center", "wrapped"), [(20, 128, True), (42, 128, True), (20, 0, False), (42, 0, False)]
)
def test_unsigned_bytes_read_as_signed_are_suspected(sigma: float, center: float, wrapped: bool) -> None:
    values = np.clip(noise() * sigma + center, 0 if center else -128, 255 if center else 127).astype(np.int16)
    tomogram = Tomogram.from_array(values.astype(np.uint8).view(np.int8), 10)
    tomogram.sign_is_assumed = True
    measure(tomogram)
    assert [("--mode0 unsigned" in warning) for warning in tomogram.warnings] == [True] * wrapped
    told = Tomogram.from_array(values.astype(np.uint8).view(np.int8), 10)
    measure(told)
    assert told.warnings == []


def test_padding_does_not_hide_that_bytes_look_unsigned() -> None:
    values = np.clip(noise() * 30 + 128, 0, 255).astype(np.uint8)
    values[:7] = 0
    tomogram = Tomogram.from_array(values.view(np.int8), 10)
    tomogram.sign_is_assumed = True
    measure(tomogram)
    assert tomogram.warnings == ["bytes read as signed look unsigned: try --mode0 unsigned"]


@pytest.mark.parametrize(("sections", "warnings"), [(7, []), (12, ["50 % of the voxels are exactly 0"])])
def test_more_fill_than_padding_takes_is_warned_of(sections: int, warnings: list[str]) -> None:
    values = noise()
    values[-sections:] = 0
    tomogram = Tomogram.from_array(values, 10)
    assert measure(tomogram).fill_fraction == sections / 24
    assert [warning.partition(":")[0] for warning in tomogram.warnings] == warnings


def test_bytes_that_use_their_whole_range_are_not_suspected() -> None:
    tomogram = Tomogram.from_array(np.random.default_rng(2).integers(-128, 128, (24, 40, 56), np.int8), 10)
    tomogram.sign_is_assumed = True
    measure(tomogram)
    assert tomogram.warnings == []


def test_the_source_normalises_and_inverts() -> None:
    tomogram = Tomogram.from_array(noise() * 5 + 40, 10)
    intensity = measure(tomogram)
    source, inverted = NormalisedSource(tomogram, intensity), NormalisedSource(tomogram, intensity, invert=True)
    box = Box((-8, -8, -8), (32, 40, 40))
    cube = source.read(box)
    assert cube is not None and np.array_equal(cube, tomogram.read(box))
    normalised = (cube - source.mean) * source.inverse_std
    assert abs(normalised.mean()) < 0.05 and normalised.std() == pytest.approx(1, rel=0.05)
    assert inverted.mean == source.mean and inverted.inverse_std == -source.inverse_std


def test_the_source_fills_holes_with_the_median_and_says_where_nothing_is_left() -> None:
    values = noise() + 40
    values[:, :, :6] = np.nan
    tomogram = Tomogram.from_array(values, 10)
    source = NormalisedSource(tomogram, measure_array(noise() + 40))
    cube = source.read(Box((0, 0, 0), (8, 8, 8)))
    assert cube is not None and (cube[:, :, :6] == np.float32(source.mean)).all()
    assert np.array_equal(cube[:, :, 6:], values[:8, :8, 6:8])
    assert source.read(Box((0, 0, 0), (8, 8, 6))) is None
    assert source.read(Box((0, 0, -8), (8, 8, 6))) is None  # what is reflected into the box does not count


def test_four_million_voxels_take_a_fraction_of_a_second() -> None:
    values = noise((64, 256, 256))
    start = time.process_time()
    measure_array(values)
    assert time.process_time() - start < 1
