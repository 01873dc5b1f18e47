"""From the tiles of a tomogram to its candidates: ownership, units, and tiles that hold more than the graph returns."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Candidates, Engine, Source, TileTooLarge, take_warnings
from picker_runtime.errors import EngineError
from picker_runtime.tiling import Tile

Progress = Callable[[int, int], None]
"""Called with the number of tiles done and the number of tiles."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The facts of a model that turn what its graph says into candidates.

    max_candidates: slots that the graph fills per cube.
    floor: lowest score of a candidate.
    voxel_size: angstrom, of the grid on which the graph measures diameters.
    """

    max_candidates: int
    floor: float
    voxel_size: float

    @classmethod
    def of(cls, card: ModelCard) -> "Limits":
        """Return the limits that a model's card states."""
        return cls(max_candidates=card.max_candidates, floor=card.candidate_floor, voxel_size=card.voxel_size_angstrom)

    def crowd(self, candidates: Candidates) -> bool:
        """Tell whether all slots hold candidates, so that there may be more."""
        return len(candidates.scores) >= self.max_candidates and float(candidates.scores[-1]) >= self.floor


@dataclass(frozen=True, kw_only=True)
class Found:
    """Candidates of a whole tomogram, doubles at the seams included, and what a user should know about them."""

    candidates: Detections
    warnings: tuple[str, ...] = ()


def find_candidates(
    engine: Engine,
    source: Source,
    tiles: Iterable[Tile],
    *,
    limits: Limits,
    split: Callable[[Tile], list[Tile]] = lambda tile: [],
    inside: Callable[[Tile, NDArray[np.float64]], NDArray[np.bool_]] | None = None,
    progress: Progress = lambda done, total: None,
) -> Found:
    """Run an engine over tiles and return what each finds in the part it owns, at or above the floor.

    split: returns the smaller tiles that stand in for a tile whose slots are all filled; none if it is too small.
    inside: tells which positions `(n, 3) float64, zyx, voxels` of a tile lie in a mask.
    """
    take_warnings(engine)  # those of a tomogram that was refused are not this one's
    queue = list(tiles)
    done = 0
    parts: list[Detections] = []
    lost_below: list[float] = []
    said: list[str] = []
    for splits in (True, False):  # a tile is split once
        halves: list[Tile] = []
        for tile, candidates, left in _stream(engine, source, queue, split, said):
            crowded = limits.crowd(candidates)
            smaller = split(tile) if crowded and splits else []
            if smaller:
                halves += smaller
            else:
                parts.append(_owned(tile, candidates, limits, inside))
                lost_below += [float(candidates.scores[-1])] if crowded else []
            done += 1
            progress(done, done + left + len(halves))
        queue = sorted(halves, key=lambda tile: tile.cube.shape)  # one shape after another: fewer compilations
    warnings = take_warnings(engine) + tuple(said) + _crowding(lost_below, limits)
    return Found(candidates=Detections.concatenate(parts), warnings=tuple(dict.fromkeys(warnings)))  # each once


def _stream(
    engine: Engine, source: Source, tiles: list[Tile], split: Callable[[Tile], list[Tile]], said: list[str]
) -> Iterator[tuple[Tile, Candidates, int]]:
    """Yield tiles with their candidates and how many are left; halves stand in for those too large for the engine.

    said: gets a line for each size of tile that was too large.

    Raises:
        EngineError: E61 if there is no memory for a tile that cannot be split.
    """
    while tiles:
        done = 0
        try:
            for tile, candidates in engine.stream(source, tiles):
                done += 1
                yield tile, candidates, len(tiles) - done
            return
        except TileTooLarge as large:
            parts = [split(tile) if tile.cube.shape == large.shape else [tile] for tile in tiles[done:]]
            if not all(parts):
                problem = f"no memory for cubes of {large.shape} voxels"
                raise EngineError(61, engine.name, problem, "free some of it, or try a smaller tile") from large
            said.append(f"no memory for cubes of {large.shape} voxels: their tiles were cut in two")
            tiles = [tile for part in parts for tile in part]


def _owned(
    tile: Tile,
    candidates: Candidates,
    limits: Limits,
    inside: Callable[[Tile, NDArray[np.float64]], NDArray[np.bool_]] | None,
) -> Detections:
    """Return a tile's candidates in voxels of the tomogram and angstrom."""
    positions = candidates.centers.astype(np.float64) + np.asarray(tile.cube.start)
    scores = candidates.scores.astype(np.float64)
    kept = tile.owned.contains(positions) & (scores >= limits.floor)
    if inside is not None and kept.any():
        kept[kept] = inside(tile, positions[kept])
    found = Detections(
        positions=positions,
        diameters=candidates.diameters.astype(np.float64) * limits.voxel_size,
        scores=scores,
        class_ids=candidates.class_ids,
    )
    return found.select(kept)


def _crowding(lost_below: list[float], limits: Limits) -> tuple[str, ...]:
    if not lost_below:
        return ()
    return (
        f"tiles with more than {limits.max_candidates} candidates: {len(lost_below)}; "
        f"some of those that score below {max(lost_below):.3f} are missing",
    )
