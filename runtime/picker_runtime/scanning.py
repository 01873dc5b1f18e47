"""Scanning: a tomogram's statistics, a look at its polarity, and its candidates from every tile."""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from picker_runtime import tiling
from picker_runtime.card import ModelCard
from picker_runtime.detections import Detections
from picker_runtime.engines.base import Engine
from picker_runtime.geometry import Triple
from picker_runtime.intensity import Intensity, NormalisedSource, measure
from picker_runtime.mask import Mask
from picker_runtime.polarity import seen_polarity
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram
from picker_runtime.worker import Limits, Progress, find_candidates


class Stages:
    """A stopwatch: `seconds` by stage, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, stage: str) -> None:
        """Give the time since the last stage's end to this one."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 4)
        self._last = now


@dataclass(frozen=True, kw_only=True)
class Scan:
    """How bright a tomogram is and its candidates, rounded, best first; `cube`: edges of what the graph ran on, zyx."""

    intensity: Intensity
    candidates: Detections
    cube: Triple


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """An engine with the facts of its model: all that turns a tomogram into candidates.

    tile: upper bounds of a cube's edges, zyx voxels, halo included; None for what suits each tomogram, of cubes no
    larger than the card's. halo: voxels around a core.
    """

    engine: Engine
    card: ModelCard
    tile: Triple | None
    halo: int

    def scan(
        self,
        tomogram: Tomogram,
        area: Mask | None = None,
        *,
        invert: bool = False,
        intensity: Intensity | None = None,
        stages: Stages | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Scan:
        """Return a tomogram's candidates; what is odd about it is added to its warnings.

        area: where to look; None for everywhere. intensity: measured if None. stages: told when each stage ends.

        Raises:
            InputError, EngineError, UsageError: as measuring, running and tiling do.
        """
        stages = stages or Stages()
        tiles = tiles_of(self.card, tomogram.shape, tile=self.tile, halo=self.halo)
        cube = tiles[0].cube.shape
        if area is not None:
            tiles = [tile for tile in tiles if area.touches(tile)]
        stages.end("open")
        intensity = intensity or measure(tomogram)
        stages.end("statistics")
        source = NormalisedSource(tomogram, intensity, invert)
        self._check_polarity(source, tomogram, invert)
        stages.end("polarity")
        found = find_candidates(
            self.engine,
            source,
            tiles,
            limits=Limits.of(self.card),
            split=partial(tiling.split, **_grid(self.card, self.halo)),
            inside=None if area is None else area.holds,
            progress=progress,
        )
        tomogram.warnings += found.warnings
        stages.end("inference")
        return Scan(intensity=intensity, candidates=found.candidates.rounded().by_score(), cube=cube)

    def _check_polarity(self, source: NormalisedSource, tomogram: Tomogram, invert: bool) -> None:
        """Warn if particles look the other way round than in the tomograms that the model was trained on."""
        seen = seen_polarity(source, tomogram.shape)
        if seen not in (None, self.card.polarity):
            fix = "leave out --invert" if invert else "try --invert"
            tomogram.warnings.append(f"particles look {seen}, the model is for {self.card.polarity} ones: {fix}")


def tiles_of(card: ModelCard, shape: Triple, *, tile: Triple | None = None, halo: int | None = None) -> list[Tile]:
    """Return the tiles that a model's card, or whoever knows better, wants of a tomogram of this shape.

    tile: as `Scanner.tile`. halo: None for the card's.

    Raises:
        UsageError: E80 if the bounds leave no room for a core.
    """
    grid = _grid(card, card.halo if halo is None else halo)
    if tile is None:
        voxels = math.prod(card.tile)
        tile = tiling.suited(shape, voxels=voxels, halo=grid["halo"], margin=card.margin, alignment=card.alignment)
    return tiling.plan(shape, tile=tile, margin=card.margin, **grid)


def _grid(card: ModelCard, halo: int) -> dict[str, Any]:
    """Return the facts that plans and splits share."""
    return {
        "halo": halo,
        "alignment": card.alignment,
        "output_stride": card.output_stride,
        "min_cells": card.max_candidates,
    }
