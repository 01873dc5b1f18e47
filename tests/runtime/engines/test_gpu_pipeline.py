"""The pipeline on a device that is no GPU; see `fake_device`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from badinput.mrc_block import header
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime.engines.fake_device import FakeDevice, FakeExecution, FakeNetwork, brightest

from picker_runtime.engines import uploading
from picker_runtime.engines.base import Candidates, Source, TileTooLarge
from picker_runtime.engines.device import DeviceMemoryError, MemoryInfo
from picker_runtime.engines.gpu_pipeline import GpuPipeline
from picker_runtime.engines.sizing import good_batch
from picker_runtime.errors import EngineError, InputError
from picker_runtime.geometry import Box
from picker_runtime.intensity import Intensity, NormalisedSource
from picker_runtime.tiling import Tile, plan, split
from picker_runtime.tomogram import Tomogram
from picker_runtime.worker import Limits, find_candidates

SHAPE = (40, 20, 28)
RULES = {"halo": 4, "alignment": 4, "output_stride": 2, "min_cells": 8}
TILES = plan(SHAPE, tile=(20, 16, 20), margin=4, **RULES)
TYPES = ["<i1", "<u1", "<i2", ">i2", "<u2", ">u2", "<f2", ">f2", "<f4", ">f4"]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pieces to an upload, and rings that wrap amid them."""
    monkeypatch.setattr(uploading, "STAGING_BYTES", 1500)


def volume(dtype: str = "<f4", seed: int = 0, *, bad: float = 0.0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    chance = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        values = chance.normal(3, 20, shape).astype(dtype)
        strange = chance.random(shape) < bad
        values[strange] = chance.choice([np.nan, np.inf, -np.inf], strange.sum())
        return values
    bounds = np.iinfo(dtype)
    return chance.integers(bounds.min, bounds.max, shape, endpoint=True).astype(dtype)


def source(array: np.ndarray, mean: float = 3.25, invert: bool = False) -> NormalisedSource:
    intensity = Intensity(center=mean, scale=20.0, non_finite_fraction=0.0, fill=None)
    return NormalisedSource(Tomogram.from_array(array, 10.0), intensity, invert)


def pipeline(device: FakeDevice, *, batch: int | None = 2, **options: Any) -> GpuPipeline:
    return GpuPipeline(
        "fake",
        open_device=lambda: device,
        open_network=lambda cubes, _, say: FakeNetwork(device, **options),
        batch=batch,
    )


def expected(voxels: Source, tiles: list[Tile]) -> Iterator[tuple[Tile, Candidates]]:
    """What the CPU's way of reading gives."""
    for tile in tiles:
        cube = voxels.read(tile.cube)
        if cube is None:
            yield tile, Candidates.empty()
            continue
        mean, inverse_std = np.float32(voxels.mean), np.float32(voxels.inverse_std)
        centers, diameters, scores, class_ids = brightest(cube, mean, inverse_std, FakeNetwork.slots)
        yield tile, Candidates(centers=centers, diameters=diameters, scores=scores, class_ids=class_ids)


def same(found: list[tuple[Tile, Candidates]], wanted: list[tuple[Tile, Candidates]]) -> None:
    assert [tile for tile, _ in found] == [tile for tile, _ in wanted]
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        for name in ("centers", "diameters", "scores", "class_ids"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("dtype", TYPES)
def test_tiles_are_what_the_cpu_reads(dtype: str, tmp_path: Path) -> None:
    """From a file, in each type and byte order, at all faces, with non-finite voxels and a cube that has no other."""
    array = volume(dtype, bad=0.2)
    if array.dtype.kind == "f":
        array[TILES[0].cube.intersection(Box.whole(SHAPE)).slices] = np.nan
    mode = {"i1": 0, "u1": 0, "i2": 1, "u2": 6, "f2": 12, "f4": 2}[dtype[1:]]
    order = dtype[0]
    path = tmp_path / "a.mrc"
    path.write_bytes(header(shape=SHAPE, mode=mode, order=order, nsymbt=80) + bytes(80) + array.tobytes())
    mode0 = {"u1": "unsigned", "i1": "signed"}.get(dtype[1:])
    with Tomogram.open(path, voxel_size=10, mode0=mode0) as tomogram, pipeline(FakeDevice()) as engine:
        intensity = Intensity(center=3.25, scale=20.0, non_finite_fraction=0.0, fill=None)
        voxels = NormalisedSource(tomogram, intensity, invert=True)
        found = list(engine.stream(voxels, TILES))
        same(found, list(expected(voxels, TILES)))
        assert len(found[0][1].scores) == (0 if array.dtype.kind == "f" else FakeNetwork.slots)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    dtype=st.sampled_from(TYPES),
    chance=st.sampled_from([0.0, 0.3, 0.9]),
    batch=st.integers(1, 5),
    planes=st.integers(20, 48),
    order=st.randoms(use_true_random=False),
)
def test_slabs_and_odd_timing_change_nothing(
    seed: int, dtype: str, chance: float, batch: int, planes: int, order: Any
) -> None:
    tiles = list(TILES)
    if seed % 3 == 0:
        order.shuffle(tiles)
    array, device = volume(dtype, seed, bad=0.05), FakeDevice(memory=10**9, chance=chance, seed=seed)
    voxels = source(array)
    with pipeline(device, batch=batch) as engine:
        slots = 2 * batch * (4 * 20 * 16 * 20 + 4000)
        device.memory = int((slots + planes * 20 * 28 * array.itemsize) / 0.95)
        same(list(engine.stream(voxels, tiles)), list(expected(voxels, tiles)))
        same(list(engine.stream(voxels, tiles[::-1])), list(expected(voxels, tiles[::-1])))
    assert device.closed


def test_a_slab_is_used_where_the_volume_does_not_fit_and_said() -> None:
    voxels, device = source(volume(shape=(200, 20, 28))), FakeDevice()
    tiles = plan((200, 20, 28), tile=(20, 16, 20), margin=4, **RULES)
    nbytes = 200 * 20 * 28 * 4
    with pipeline(device, batch=1) as engine:
        device.memory = nbytes  # and no more
        same(list(engine.stream(voxels, tiles)), list(expected(voxels, tiles)))
        assert engine.warnings == ["GPU memory is short: one cube at a time and the tomogram in slabs of 100 planes"]
    assert device.most_used < nbytes


def test_short_memory_halves_the_batch_first_and_says_so_once() -> None:
    voxels, device = source(volume()), FakeDevice()
    with pipeline(device, batch=8, activations=100) as engine:
        device.memory = 2 * 2 * 16 * 20 * 20 * 104 + SHAPE[0] * SHAPE[1] * SHAPE[2] * 4 + 300_000
        same(list(engine.stream(voxels, TILES)), list(expected(voxels, TILES)))
        same(list(engine.stream(source(volume(seed=1)), TILES)), list(expected(source(volume(seed=1)), TILES)))
        assert engine.warnings == ["GPU memory is short: 2 cubes at a time"]


def test_a_network_that_runs_out_of_memory_on_the_way_gets_less(monkeypatch: pytest.MonkeyPatch) -> None:
    voxels, device = source(volume()), FakeDevice()
    asked = []

    def enqueue(self: Any, stream: int) -> None:
        asked.append(self.specs["cubes"].shape[0])
        if asked[-1] > 1 and len(asked) > 1:
            raise DeviceMemoryError("on the way")
        true_enqueue(self, stream)

    true_enqueue = FakeExecution.enqueue
    monkeypatch.setattr(FakeExecution, "enqueue", enqueue)
    with pipeline(device, batch=4) as engine:
        same(list(engine.stream(voxels, TILES)), list(expected(voxels, TILES)))
    assert asked[:4] == [4, 4, 2, 1]


def test_where_one_tile_does_not_fit_smaller_ones_are_asked_for() -> None:
    voxels, device = source(volume()), FakeDevice()
    whole = plan(SHAPE, tile=(48, 48, 48), margin=4, **RULES)
    found = []

    def halves(tile: Tile) -> list[Tile]:
        parts = split(tile, **RULES)
        found.extend(parts)
        return parts

    with pipeline(device, activations=20) as engine:
        device.memory = 2 * 40 * 28 * 36 * 24
        with pytest.raises(TileTooLarge):
            list(engine.stream(voxels, whole))
        limits = Limits(max_candidates=99, floor=0.0, voxel_size=10.0)
        result = find_candidates(engine, voxels, whole, limits=limits, split=halves)
        assert found and len(result.candidates)
        with pytest.raises(EngineError, match="no memory for cubes of"):
            find_candidates(engine, voxels, whole, limits=limits)


def test_cubes_once_found_too_large_are_not_tried_again() -> None:
    opened: list[tuple[int, ...]] = []
    device = FakeDevice()

    def network(cubes: tuple[int, ...], *_: object) -> FakeNetwork:
        opened.append(cubes)
        return FakeNetwork(device, activations=20)

    whole = plan(SHAPE, tile=(48, 48, 48), margin=4, **RULES)
    with GpuPipeline("fake", open_device=lambda: device, open_network=network) as engine:
        device.memory = 2 * 40 * 28 * 36 * 24
        counts = []
        for _ in range(2):
            with pytest.raises(TileTooLarge):
                list(engine.stream(source(volume()), whole))
            counts.append(len(opened))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    ("tiles", "cube_voxels", "free", "batch"),
    [
        (6, 12_096_000, 2**37, 1),  # the bundled model's tiles keep a GPU busy one by one
        (300, 96**3, 2**37, 14),
        (3, 96**3, 2**37, 3),
        (300, 96**3, 2**31, 9),
        (300, 256**3, 2**30, 1),
    ],
)
def test_the_batch_follows_from_tiles_and_free_memory(tiles: int, cube_voxels: int, free: int, batch: int) -> None:
    assert good_batch(tiles, cube_voxels, free=free) == batch


def test_without_a_batch_one_is_chosen_for_each_size_of_cubes_and_kept() -> None:
    voxels, device = source(volume()), FakeDevice()
    with pipeline(device, batch=None) as engine:
        device.memory = 1 << 24
        same(list(engine.stream(voxels, TILES)), list(expected(voxels, TILES)))
        first = dict(engine._limits)
        assert first == {(20, 16, 20): min(len(TILES), (1 << 24) // (2 * 128 * 20 * 16 * 20))}
        device.memory = 1 << 26
        same(list(engine.stream(voxels, TILES[:2])), list(expected(voxels, TILES[:2])))
        assert engine._limits == first


def test_the_second_batch_of_a_slot_is_recorded_and_later_ones_are_replayed() -> None:
    device = FakeDevice()
    with pipeline(device, batch=1) as engine:
        list(engine.stream(source(volume()), TILES * 2))
        first = [call for call in device.calls if call != "synchronise_event"]
    count = 2 * len(TILES)
    assert first.count("begin_capture") == 2 and first.count("replay") == count - 2
    assert first.count("infer") == 2 and first.count("record infer") == 2


@pytest.mark.parametrize("capturable", [False, True])
def test_a_library_that_cannot_be_recorded_is_run_piece_by_piece(capturable: bool) -> None:
    device, voxels = FakeDevice(), source(volume())
    if capturable:  # it says so, but then refuses

        def refuse(stream: int) -> int:
            device.streams[stream].recorded = None
            raise EngineError(61, "GPU", "capture invalidated", "x")

        device.end_capture = refuse  # type: ignore[method-assign]
    with pipeline(device, capturable=capturable) as engine:
        same(list(engine.stream(voxels, TILES)), list(expected(voxels, TILES)))
    assert device.calls.count("replay") == 0


def test_two_batches_are_in_flight_and_the_third_waits_for_the_first() -> None:
    device = FakeDevice()
    with pipeline(device, batch=1) as engine:
        stream = engine.stream(source(volume()), TILES)
        next(stream)
        launched = [call for call in device.calls if call in ("infer", "record infer", "replay")]
        stream.close()
    assert launched == ["infer", "infer", "record infer", "replay"]  # the first is yielded once the third is on its way


def test_the_volume_is_uploaded_once_for_several_streams_and_the_next_one_ahead(tmp_path: Path) -> None:
    device = FakeDevice()
    one, other = source(volume()), source(volume(seed=1))
    pieces = -(-SHAPE[0] * SHAPE[1] // (1500 // (28 * 4)))
    with pipeline(device, batch=1) as engine:
        engine.prefetch(other.raw())
        list(engine.stream(one, TILES))
        list(engine.stream(one, TILES[:3]))
        engine._uploader._thread.submit(lambda: None).result()  # the reader has caught up
        assert uploads(device) == 2 * pieces
        device.calls.clear()
        same(list(engine.stream(other, TILES)), list(expected(other, TILES)))
        assert uploads(device) == 0
    assert device.closed


def uploads(device: FakeDevice) -> int:
    """Copies to the device that are pieces of volumes: each is followed by its event; a batch's by its cut."""
    pairs = zip(device.calls, device.calls[1:], strict=False)
    return sum(pair[0] == "up" and pair[1] not in ("cut",) for pair in pairs)


def test_an_announced_tomogram_gives_way_when_memory_is_short() -> None:
    device = FakeDevice()
    one, other = source(volume()), source(volume(seed=1, shape=(40, 60, 60)))
    with pipeline(device, batch=1) as engine:
        device.memory = 300_000
        engine.prefetch(other.raw())
        same(list(engine.stream(one, TILES)), list(expected(one, TILES)))
        assert engine.warnings == []


def test_a_batch_that_is_not_full_reads_nothing_for_its_empty_places() -> None:
    """Neither what was in its buffer before the first batch, nor the volume that was there for the last one."""
    one, other = source(volume()), source(volume(seed=1))
    with pipeline(FakeDevice(), batch=5) as engine:
        for voxels in (one, other, one):
            same(list(engine.stream(voxels, TILES[:3])), list(expected(voxels, TILES[:3])))
            same(list(engine.stream(voxels, TILES[:12])), list(expected(voxels, TILES[:12])))


def test_a_file_that_shrinks_is_an_input_error_and_the_engine_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    path.write_bytes(header(shape=SHAPE, mode=2) + volume().tobytes())
    device = FakeDevice()
    with pipeline(device) as engine, Tomogram.open(path, voxel_size=10) as tomogram:
        path.write_bytes(path.read_bytes()[:50_000])
        voxels = NormalisedSource(tomogram, Intensity(center=0, scale=1, non_finite_fraction=0, fill=None))
        with pytest.raises(InputError) as caught:
            list(engine.stream(voxels, TILES))
        assert caught.value.code == 13
        good = source(volume())
        same(list(engine.stream(good, TILES)), list(expected(good, TILES)))
    assert device.closed


def test_on_a_large_device_that_others_nearly_fill_a_small_volume_still_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    device, voxels = FakeDevice(), source(volume())
    monkeypatch.setattr(FakeDevice, "memory_info", lambda self: MemoryInfo(free=1 << 30, total=140 << 30))
    with pipeline(device) as engine:
        same(list(engine.stream(voxels, TILES)), list(expected(voxels, TILES)))
        assert engine.warnings == []


def test_an_abandoned_stream_leaves_nothing_behind() -> None:
    device = FakeDevice(memory=150_000)
    engine = pipeline(device, batch=1)
    with engine:
        stream = engine.stream(source(volume(shape=(400, 20, 28))), TILES)
        next(stream)
        stream.close()
    assert device.closed


def test_voxels_that_come_from_no_file_are_refused() -> None:
    class Plain:
        mean, inverse_std = 0.0, 1.0

        def read(self, box: Box) -> np.ndarray:
            return np.zeros(box.shape, np.float32)

    with pipeline(FakeDevice()) as engine, pytest.raises(EngineError, match="E61"):
        list(engine.stream(Plain(), TILES))
