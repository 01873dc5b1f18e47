"""Picking with the U-Net: tiles, probabilities of every voxel, connected components, picks."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from picker_runtime import tiling
from picker_runtime.detections import Detections
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.tiling import Tile
from picker_runtime.tomogram import Tomogram
from picker_training.baselines.selection import Known, objective, tune_thresholds
from picker_training.detectors.decode import normalise
from picker_training.detectors.unet import UNetDetector
from picker_training.device import float32_convolutions
from picker_training.model_card import tile_for

HALO = 24
"""Voxels; a probability depends on most of what the deepest level sees, 8 voxels each."""

TILE_VOXELS = math.prod(tile_for(UNetDetector.alignment))
"""Cubes as large as our own detector's."""

FOREGROUND: tuple[float, ...] = (0.3, 0.5, 0.7)
FRACTIONS: tuple[float, ...] = (0.05, 0.15, 0.3, 0.5)
COMPONENTS_PER_MEGAVOXEL, LEAST_COMPONENTS = 300.0, 1000
"""The best so many are kept: a network that knows little sees specks everywhere."""

TOUCHING = np.ones((3, 3, 3), np.bool_)
COMMON_SCORES: NDArray[np.float64] = np.round(np.arange(0.1, 1.0, 0.05), 2)
SCORES: NDArray[np.float64] = np.round(np.arange(0.05, 1.0, 0.03), 2)
"""Among which thresholds are chosen: one for all classes, with each pair of limits; then one for each class."""


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """What the network says of every voxel, `(d, h, w)` each.

    particle: `float16`, probability that it is no background. class_ids: `uint8`, the most probable class.
    share: `float16`, probability of that class.
    """

    particle: NDArray[np.float16]
    class_ids: NDArray[np.uint8]
    share: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class ComponentLimits:
    """When voxels are a particle.

    foreground: least probability of a particle in each voxel of a component.
    fraction: least size of a component, as a part of its class's ball.
    """

    foreground: float = 0.5
    fraction: float = 0.15


@dataclass(frozen=True, kw_only=True)
class UNetSettings:
    """All that is chosen on a calibration tomogram. thresholds: of the scores, by class."""

    limits: ComponentLimits
    thresholds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def label_file(network: UNetDetector, path: Path, *, margin: int) -> LabelMap:
    """Run the network over a tomogram's file in tiles, as the runtime cuts them.

    margin: voxels along a crop's faces in which the network has not learnt.

    Raises:
        InputError: E10 to E42 if the file cannot be used.
    """
    with Tomogram.open(path) as tomogram:
        source = NormalisedSource(tomogram, measure(tomogram))
        made = LabelMap(
            particle=np.zeros(tomogram.shape, np.float16),
            class_ids=np.zeros(tomogram.shape, np.uint8),
            share=np.zeros(tomogram.shape, np.float16),
        )
        shape = tomogram.shape
        grid: dict[str, Any] = {"halo": HALO, "margin": margin, "alignment": network.alignment}
        bounds = tiling.suited(shape, voxels=TILE_VOXELS, **grid)
        tiles = tiling.plan(shape, tile=bounds, output_stride=1, min_cells=1, **grid)
        for tile in tiles:
            _label_tile(network, source, tile, made)
    return made


def _label_tile(network: UNetDetector, source: NormalisedSource, tile: Tile, made: LabelMap) -> None:
    values = source.read(tile.cube)
    if values is None:
        return
    parameter = next(network.parameters())
    inputs = [torch.from_numpy(values)[None, None], torch.tensor([source.mean]), torch.tensor([source.inverse_std])]
    cube = normalise(*(x.to(parameter.device) for x in inputs)).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), float32_convolutions():
        probabilities = torch.softmax(network(cube)[(0, slice(None), *tile.core.slices_in(tile.cube))], dim=0)
        share, class_ids = probabilities[1:].max(dim=0)
    made.particle[tile.core.slices] = (1.0 - probabilities[0]).cpu().numpy()
    made.class_ids[tile.core.slices] = class_ids.cpu().numpy()
    made.share[tile.core.slices] = share.cpu().numpy()


def components(
    labels: LabelMap, limits: ComponentLimits, radii_voxels: Sequence[float], diameters_angstrom: Sequence[float]
) -> Detections:
    """Return the connected components of the particles' voxels, best first, those too small for their class left out.

    A component's class is the one with most probability in it, its score the mean probability of that class over the
    component, its place the mean place of its voxels, weighted by the probability of a particle.
    radii_voxels: by class, of the balls that the network learnt.
    """
    numbered, count = ndimage.label(labels.particle > limits.foreground, structure=TOUCHING)
    if count == 0:
        return Detections.empty()
    where = np.nonzero(numbered)
    member = numbered[where] - 1
    weight = labels.particle[where].astype(np.float64)
    classes = len(radii_voxels)
    votes = np.bincount(
        member * classes + labels.class_ids[where],
        weights=labels.share[where].astype(np.float64),
        minlength=count * classes,
    ).reshape(count, classes)
    sizes = np.bincount(member, minlength=count)
    mass = np.bincount(member, weights=weight, minlength=count)
    class_ids = votes.argmax(axis=1)
    volumes = 4.0 / 3.0 * math.pi * np.asarray(radii_voxels) ** 3
    found = Detections(
        positions=np.stack([np.bincount(member, weights=weight * axis, minlength=count) / mass for axis in where], 1),
        diameters=np.asarray(diameters_angstrom, np.float64)[class_ids],
        scores=votes.max(axis=1) / sizes,
        class_ids=class_ids.astype(np.int32),
    )
    most = max(LEAST_COMPONENTS, round(COMPONENTS_PER_MEGAVOXEL * numbered.size / 1e6))
    large = found.select(sizes >= limits.fraction * volumes[class_ids]).by_score()
    return large.select(np.arange(min(len(large), most)))


def choose_settings(
    labels: LabelMap,
    positions: NDArray[np.float64],
    class_ids: NDArray[np.intp],
    radii_voxels: Sequence[float],
    diameters_angstrom: NDArray[np.float64],
    voxel_size: float,
) -> UNetSettings:
    """Return the limits and thresholds that judge best on a tomogram whose particles are known.

    The objective is that of all detectors, localisation F1 plus mean class F1. Limits are compared at the best
    threshold common to all classes; then each class has its own.
    positions: `(n, 3) float64, zyx, voxels`; class_ids: `(n,)`.
    """
    best, chosen = -math.inf, None
    for foreground, fraction in product(FOREGROUND, FRACTIONS):
        limits = ComponentLimits(foreground=foreground, fraction=fraction)
        found = components(labels, limits, radii_voxels, diameters_angstrom.tolist())
        known = Known(candidates=found, positions=positions, class_ids=class_ids)
        value = max(
            objective(known, np.full(len(radii_voxels), score), diameters_angstrom, voxel_size)
            for score in COMMON_SCORES
        )
        if value > best:
            best, chosen = value, (limits, known)
    if chosen is None:
        raise ValueError("no limits to choose from")
    limits, known = chosen
    thresholds = tune_thresholds([known], diameters_angstrom, voxel_size, grid=SCORES)
    return UNetSettings(limits=limits, thresholds=tuple(thresholds.tolist()))
