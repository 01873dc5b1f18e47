from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from picker_runtime.engines.base import Candidates, FakeEngine, Source, TileTooLarge
from picker_runtime.errors import EngineError
from picker_runtime.geometry import Box
from picker_runtime.tiling import Tile, plan, split
from picker_runtime.worker import Limits, find_candidates

SHAPE = (32, 32, 64)
RULES = {"halo": 4, "alignment": 4, "output_stride": 2, "min_cells": 8}
LIMITS = Limits(max_candidates=8, floor=0.1, voxel_size=10.0)


class Nothing:
    mean, inverse_std = 0.0, 1.0

    def read(self, box: Box) -> np.ndarray:
        return np.zeros(box.shape, np.float32)


class TopEngine(FakeEngine):
    """Finds given particles, at most the best `slots` of those in a cube, as a graph does."""

    def __init__(self, positions: object, scores: object, slots: int = 8) -> None:
        self.positions, self.scores, self.slots = np.atleast_2d(positions), np.asarray(scores), slots
        self.shapes: list[tuple[int, ...]] = []

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        for tile in tiles:
            self.shapes.append(tile.cube.shape)
            inside = np.flatnonzero(tile.cube.contains(self.positions))
            best = inside[np.argsort(-self.scores[inside], kind="stable")][: self.slots]
            yield (
                tile,
                Candidates(
                    centers=np.float32(self.positions[best] - tile.cube.start),
                    diameters=np.full(len(best), 7, np.float32),
                    scores=np.float32(self.scores[best]),
                    class_ids=np.arange(len(best), dtype=np.int32),
                ),
            )


def divider(tile: Tile) -> list[Tile]:
    return split(tile, **RULES)


def one_tile() -> list[Tile]:
    return plan(SHAPE, tile=(48, 48, 80), margin=4, **RULES)


def two_tiles() -> list[Tile]:
    return plan(SHAPE, tile=(48, 48, 40), margin=4, **RULES)  # cores of 32 along x


def test_candidates_come_in_voxels_of_the_tomogram_and_angstrom() -> None:
    found = find_candidates(TopEngine([[10, 20, 50.25]], [0.5]), Nothing(), two_tiles(), limits=LIMITS)
    assert found.candidates.positions.tolist() == [[10, 20, 50.25]]
    assert found.candidates.diameters.tolist() == [70.0]
    assert found.candidates.class_ids.dtype == np.int32


@pytest.mark.parametrize(
    ("x", "times"), [(29.4, 1), (29.6, 2), (33.4, 2), (33.6, 1), (-0.4, 1), (-0.6, 0), (63.4, 1), (63.6, 0)]
)
def test_owners_are_the_tiles_within_an_output_cell_and_none_outside_the_tomogram(x: float, times: int) -> None:
    found = find_candidates(TopEngine([[10, 20, x]], [0.5]), Nothing(), two_tiles(), limits=LIMITS)
    assert len(found.candidates) == times


def test_what_scores_below_the_floor_is_left_out() -> None:
    engine = TopEngine([[10, 10, 10], [20, 20, 20]], [0.1001, 0.0999])
    found = find_candidates(engine, Nothing(), one_tile(), limits=LIMITS)
    assert found.candidates.positions.tolist() == [[10, 10, 10]]


def crowd(count: int) -> TopEngine:
    """Particles along x with falling scores; the last ones hide behind eight slots."""
    x = np.linspace(2, 61, count)
    return TopEngine(np.stack([np.full(count, 16.0), np.full(count, 16.0), x], axis=1), np.linspace(0.9, 0.2, count))


def test_a_crowded_tile_is_split_once() -> None:
    engine = crowd(12)
    found = find_candidates(engine, Nothing(), one_tile(), limits=LIMITS, split=divider)
    assert engine.shapes == [(40, 40, 72), (40, 40, 40), (40, 40, 40)]
    assert len(np.unique(found.candidates.positions, axis=0)) == 12
    assert found.warnings == ()


def test_slots_filled_below_the_floor_are_no_crowd() -> None:
    engine = crowd(12)
    engine.scores[7:] = 0.05
    find_candidates(engine, Nothing(), one_tile(), limits=LIMITS, split=divider)
    assert len(engine.shapes) == 1


def test_a_tile_still_crowded_after_the_split_is_warned_of() -> None:
    engine = crowd(40)
    found = find_candidates(engine, Nothing(), one_tile(), limits=LIMITS, split=divider)
    assert len(engine.shapes) == 3
    # the better half shows its first eight; those have the highest scores that anything is missing below
    assert found.warnings == (
        f"tiles with more than 8 candidates: 2; some of those that score below {engine.scores[7]:.3f} are missing",
    )


def test_a_crowded_tile_that_cannot_be_split_keeps_what_it_has() -> None:
    found = find_candidates(crowd(12), Nothing(), one_tile(), limits=LIMITS)
    assert len(found.candidates) == 8
    assert len(found.warnings) == 1


def test_a_mask_is_asked_for_owned_positions_only() -> None:
    def inside(tile: Tile, positions: np.ndarray) -> np.ndarray:
        assert tile.owned.contains(positions).all()
        return positions[:, 2] > 20

    engine = TopEngine([[16, 16, 10], [16, 16, 25], [16, 16, 40]], [0.5, 0.6, 0.7])
    found = find_candidates(engine, Nothing(), two_tiles(), limits=LIMITS, inside=inside)
    assert sorted(found.candidates.positions[:, 2]) == [25, 40]


class SmallEngine(TopEngine):
    """Has no memory for cubes as long as those of `long_tiles`, which it notices after its first tile."""

    def __init__(self, positions: object, scores: object, slots: int) -> None:
        super().__init__(positions, scores, slots)
        self.warnings: list[str] = []

    def stream(self, source: Source, tiles: Iterable[Tile]) -> Iterator[tuple[Tile, Candidates]]:
        self.warnings.append("memory is short")
        for number, (tile, candidates) in enumerate(super().stream(source, tiles)):
            if number and tile.cube.shape == long_tiles()[0].cube.shape:
                raise TileTooLarge(tile.cube.shape)
            yield tile, candidates


def long_tiles() -> list[Tile]:
    return plan((32, 32, 128), tile=(48, 48, 56), margin=4, **RULES)


def small_engine() -> SmallEngine:
    x = np.linspace(1, 126, 20)
    return SmallEngine(np.stack([np.full(20, 16.0), np.full(20, 16.0), x], axis=1), np.linspace(0.9, 0.2, 20), 20)


def test_tiles_too_large_for_the_engine_are_halved_and_none_is_lost() -> None:
    engine, count = small_engine(), len(long_tiles())
    calls: list[tuple[int, int]] = []
    found = find_candidates(
        engine,
        Nothing(),
        long_tiles(),
        limits=Limits(max_candidates=99, floor=0.1, voxel_size=10.0),
        split=divider,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert set(np.round(found.candidates.positions[:, 2], 3)) == set(np.round(engine.positions[:, 2], 3))
    shape = long_tiles()[0].cube.shape
    assert found.warnings == ("memory is short", f"no memory for cubes of {shape} voxels: their tiles were cut in two")
    assert calls[0] == (1, count) and calls[-1] == (2 * count - 1, 2 * count - 1)


def test_a_tile_too_large_that_cannot_be_halved_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match="E61 fake: no memory for cubes of") as caught:
        find_candidates(small_engine(), Nothing(), long_tiles(), limits=LIMITS)
    assert "smaller tile" in caught.value.fix


def test_what_was_said_of_a_tomogram_that_was_refused_is_not_said_of_the_next() -> None:
    engine = small_engine()
    with pytest.raises(EngineError):
        find_candidates(engine, Nothing(), long_tiles(), limits=LIMITS)
    engine.stream = lambda source, tiles: iter([])  # type: ignore[method-assign]
    assert find_candidates(engine, Nothing(), long_tiles(), limits=LIMITS).warnings == ()


def test_progress_counts_the_halves_too() -> None:
    calls: list[tuple[int, int]] = []
    progress: Callable[[int, int], None] = lambda done, total: calls.append((done, total))  # noqa: E731
    find_candidates(crowd(12), Nothing(), one_tile(), limits=LIMITS, split=divider, progress=progress)
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_no_tiles_give_no_candidates() -> None:
    assert len(find_candidates(crowd(3), Nothing(), [], limits=LIMITS).candidates) == 0
