"""Tiling must not show: the same picks whatever the tiles, none lost and none doubled where they meet."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import FLOOR, LARGE, SMALL, VOXEL_SIZE, blob_graph, scattered, volume_with_blobs

from picker_runtime.detections import Detections
from picker_runtime.engines import open_engine
from picker_runtime.engines.base import Candidates, Engine, FakeEngine, Source
from picker_runtime.geometry import Triple
from picker_runtime.intensity import Intensity, NormalisedSource
from picker_runtime.nms import pick, suppress
from picker_runtime.tiling import Tile, plan
from picker_runtime.tomogram import Tomogram
from picker_runtime.worker import Limits, find_candidates

HALO, ALIGNMENT, STRIDE, SLOTS = 8, 4, 2, 256
TILES = ((48, 48, 48), (32, 44, 60), (64, 64, 64))
BATCHES = (1, 2, 5)
SHIFTS = ((0, 0, 0), (4, 8, 12), (20, 0, 4), (-4, 16, 28))
SHAPES = {"primes": (61, 67, 71), "thin": (17, 96, 90), "one voxel more than a cube": (33, 65, 33)}
LIMITS = Limits(max_candidates=SLOTS, floor=FLOOR, voxel_size=VOXEL_SIZE)
UNIT = Intensity(center=0.0, scale=1.0, non_finite_fraction=0.0, fill=None)


@cache
def source(shape: Triple) -> NormalisedSource:
    positions = scattered(shape, count=40, apart=10)  # up to the faces
    amplitudes = np.where(np.arange(len(positions)) % 2, LARGE, SMALL)
    return NormalisedSource(Tomogram.from_array(volume_with_blobs(shape, positions, amplitudes), VOXEL_SIZE), UNIT)


def picks(engine: Engine, shape: Triple, tile: Triple, shift: Triple = (0, 0, 0)) -> Detections:
    rules = {"halo": HALO, "margin": ALIGNMENT, "alignment": ALIGNMENT, "output_stride": STRIDE, "min_cells": SLOTS}
    found = find_candidates(engine, source(shape), plan(shape, tile=tile, shift=shift, **rules), limits=LIMITS)
    assert found.warnings == ()
    kept = suppress(found.candidates.select(found.candidates.scores >= 0.2), fraction=0.5, voxel_size=VOXEL_SIZE)
    return kept.select(np.lexsort(np.round(kept.positions.T, 2)))  # scores of equal blobs may swap places


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return blob_graph(tmp_path_factory.mktemp("graph") / "model.onnx", stride=STRIDE, max_candidates=SLOTS)


@pytest.fixture(scope="module")
def whole(graph: Path) -> dict[Triple, Detections]:
    """Picks of each shape from one cube that holds it all."""
    with open_engine("openvino", graph, threads=1) as engine:
        return {shape: picks(engine, shape, (160, 160, 160)) for shape in SHAPES.values()}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("tile", TILES)
def test_tile_batch_and_grid_shift_change_no_pick(
    tile: Triple, batch: int, shape: Triple, graph: Path, whole: dict[Triple, Detections]
) -> None:
    expected = whole[shape]
    assert len(expected) >= 15
    with open_engine("openvino", graph, threads=1, batch=batch) as engine:
        for shift in SHIFTS:
            same(picks(engine, shape, tile, shift), expected)


def test_the_second_engine_gives_the_same_picks(graph: Path, whole: dict[Triple, Detections]) -> None:
    with open_engine("onnxruntime", graph, threads=1, batch=2) as engine:
        for shape in SHAPES.values():
            same(picks(engine, shape, TILES[0], SHIFTS[1]), whole[shape])


def same(found: Detections, expected: Detections) -> None:
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.positions, expected.positions, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(found.class_ids, expected.class_ids)


class JitterEngine(FakeEngine):
    """Finds every particle of a cube, but each time 0.3 voxel off in another direction."""

    def __init__(self, particles: np.ndarray) -> None:
        self._particles = particles
        self._rng = np.random.default_rng(5)

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        for tile in tiles:
            inside = self._particles[tile.cube.contains(self._particles)]
            offsets = self._rng.normal(size=inside.shape)
            offsets *= 0.3 / np.linalg.norm(offsets, axis=1, keepdims=True)
            yield (
                tile,
                Candidates(
                    centers=np.float32(inside + offsets - tile.cube.start),
                    diameters=np.full(len(inside), 10, np.float32),
                    scores=np.sort(self._rng.uniform(0.5, 1, len(inside)).astype(np.float32))[::-1],
                    class_ids=np.zeros(len(inside), np.int32),
                ),
            )


def test_jitter_at_the_seams_loses_and_doubles_no_particle() -> None:
    shape = (208, 520, 520)
    lattice = np.stack(np.meshgrid(*[np.arange(8, n - 8, 14) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    rng = np.random.default_rng(3)
    particles = rng.permutation(lattice)[:10_000] + rng.uniform(-2, 2, (10_000, 3))
    tiles = plan(shape, tile=(64, 64, 64), halo=8, margin=8, alignment=4, output_stride=1, min_cells=1)
    limits = Limits(max_candidates=3840, floor=0.1, voxel_size=10.0)
    found = find_candidates(JitterEngine(particles), source(SHAPES["thin"]), tiles, limits=limits)
    assert len(found.candidates) > 10_100  # some are seen from two tiles
    kept = pick(found.candidates, thresholds=np.array([0.2]), fraction=0.5, voxel_size=10.0)
    order = np.round((kept.positions - lattice.min(axis=0)) / 14).astype(int)
    assert len(kept) == len(np.unique(order, axis=0)) == 10_000
    truth = particles[np.lexsort(np.round((particles - lattice.min(axis=0)) / 14).astype(int).T)]
    distances = np.linalg.norm(kept.positions[np.lexsort(order.T)] - truth, axis=1)
    assert distances.max() < 0.302
