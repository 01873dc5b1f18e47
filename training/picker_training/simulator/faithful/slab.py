"""Slab: the potential of everything in it, drawn on a fine grid and averaged over blocks.

Slabs are `(depth, breadth, height)` = z, x, y: rows along the tilt axis y lie together, since tilting mixes z and x
alone. Sample i of a slab lies at voxel (i + 0.5) / binning - 0.5 of the tomogram: a block of samples is a voxel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from picker_runtime.geometry import Triple
from picker_training.simulator.faithful.parameters import Shrec2021Parameters, ShrecParameters
from picker_training.simulator.faithful.population import GOLD, Extra, Population, draw_extra
from picker_training.simulator.specimen import FRINGE_ANGSTROM, Placements
from picker_training.simulator.templates import GRID_ANGSTROM, MASK_DENSITY, Template

DRAW_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One particle on a grid: its number from 0 among those drawn, `values (n, n, n)` and the box's low corner, zyx."""

    number: int
    values: NDArray[np.float32]
    low: NDArray[np.int64]


def draw(
    maps: Sequence[NDArray[np.float32]],
    placements: Placements,
    reach_angstrom: Sequence[float],
    *,
    voxel_size: float,
    grid_angstrom: float = GRID_ANGSTROM,
    block: int = 1,
) -> Iterator[Drawing]:
    """Draw every particle in its orientation; boxes begin and end at multiples of `block` voxels.

    maps: per class, `(n, n, n)`, the centre at the centre voxel. grid_angstrom: their voxel size.
    placements: positions in voxels of `voxel_size`. reach_angstrom: per class, beyond which there is nothing.
    """
    for class_id, density in enumerate(maps):
        members = np.flatnonzero(placements.class_ids == class_id)
        half = int(np.ceil(reach_angstrom[class_id] / voxel_size)) + 1
        size = block * int(np.ceil((2 * half + 1) / block) + 1)
        lows = block * np.floor((placements.positions[members] - half) / block).astype(np.int64)
        for start in range(0, len(members), DRAW_BATCH):
            part = slice(start, start + DRAW_BATCH)
            values = _resample(
                density,
                placements.rotations[members[part]],
                placements.positions[members[part]] - lows[part],
                size,
                voxel_size / grid_angstrom,
            )
            for i, box in enumerate(values.numpy()):
                yield Drawing(number=int(members[start + i]), values=box, low=lows[start + i])


def _resample(
    density: NDArray[np.float32],
    rotations: NDArray[np.float64],
    centres: NDArray[np.float64],
    size: int,
    step: float,
) -> Tensor:
    """Return `(n, size, size, size)`, the map turned by each rotation about its own centre, moved to `centres`.

    step: a voxel of the result in voxels of the map.
    """
    axis = torch.arange(size, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(1, -1, 3)
    inverse = torch.from_numpy(rotations).float()  # row vectors: r @ R is R^-1 r
    scale = step / (density.shape[0] // 2)
    points = (grid - torch.from_numpy(centres).float()[:, None]) @ inverse * scale
    sampling = points.flip(-1).reshape(len(centres), size, size, size, 3)
    source = torch.from_numpy(np.ascontiguousarray(density)).expand(len(centres), 1, -1, -1, -1)
    return functional.grid_sample(source, sampling, align_corners=True)[:, 0]


def build_slab(p: ShrecParameters, templates: Sequence[Template], population: Population) -> NDArray[np.float32]:
    """Return the potential beyond that of the ice, `(depth, breadth, height) float32, zxy, volt`."""
    depth, height, breadth = p.slab_shape
    slab = np.zeros((depth, breadth, height), np.float32)
    fine = round(p.voxel_size_angstrom / p.drawing_angstrom)
    block = round(p.sampling_angstrom / p.drawing_angstrom)
    corner = np.array([0, p.margin, (p.breadth - p.field) // 2])
    maps = [halved(template.density) for template in templates]
    reach = [template.radius_angstrom + FRINGE_ANGSTROM for template in templates]
    steps = {"voxel_size": p.drawing_angstrom, "grid_angstrom": GRID_ANGSTROM / 2.0}
    for placed in (population.inside, population.around):
        scaled = on_grid(placed, corner, fine)
        for drawing in draw(maps, scaled, reach, block=block, **steps):
            _add(slab, block_mean(drawing.values, block), drawing.low // block)
    slab *= np.float32(p.contrast_volt_per_density)
    if isinstance(p, Shrec2021Parameters):
        for extra in population.extras:
            _add_extra(slab, extra, p, corner)
    return slab


def halved(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map of odd side n on a grid half as wide, side `2 n - 1`, so that linear reading blurs it little."""
    n = density.shape[0]
    finer: NDArray[np.float32] = ndimage.zoom(density, (2 * n - 1) / n, order=3).astype(np.float32)
    return finer


def on_grid(placements: Placements, corner: NDArray[np.int64], fine: int) -> Placements:
    """Move positions from voxels of the tomogram to those of a slab `fine` times finer that begins at -corner."""
    positions = (placements.positions + corner + 0.5) * fine - 0.5
    return Placements(class_ids=placements.class_ids, positions=positions, rotations=placements.rotations)


def block_mean(volume: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """Return the means of blocks of `block^3` voxels; a block's centre is the new voxel's."""
    if block == 1:
        return volume
    d, h, w = (n // block for n in volume.shape)
    blocks = volume[: d * block, : h * block, : w * block].reshape(d, block, h, block, w, block)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _add(slab: NDArray[np.float32], box: NDArray[np.float32], low: NDArray[np.int64]) -> None:
    """Add a box `(z, y, x)` to a slab `(z, x, y)`, which wraps around in x and y; what is above or below is cut off."""
    depth, breadth, height = slab.shape
    z = np.arange(max(low[0], 0), min(low[0] + box.shape[0], depth))
    y, x = (low[i] + np.arange(box.shape[i]) for i in (1, 2))
    inner = box[z - low[0]].transpose(0, 2, 1)
    if x[0] >= 0 and x[-1] < breadth and y[0] >= 0 and y[-1] < height:
        slab[z[0] : z[-1] + 1, x[0] : x[-1] + 1, y[0] : y[-1] + 1] += inner
    else:
        slab[np.ix_(z, x % breadth, y % height)] += inner


def _add_extra(slab: NDArray[np.float32], extra: Extra, p: Shrec2021Parameters, corner: NDArray[np.int64]) -> None:
    volt = p.gold_volt if extra.name == GOLD else p.membrane_volt
    density, _ = draw_extra(extra.name, extra.diameter_angstrom, extra.stretch, p.drawing_angstrom)
    fine = round(p.voxel_size_angstrom / p.drawing_angstrom)
    block = round(p.sampling_angstrom / p.drawing_angstrom)
    low = np.rint((extra.position + corner + 0.5) * fine - 0.5).astype(np.int64) - np.array(density.shape) // 2
    before = low % block
    padding = [(int(b), int(-(n + b) % block)) for b, n in zip(before, density.shape, strict=True)]
    _add(slab, block_mean(np.pad(density * np.float32(volt), padding), block), (low - before) // block)


def grandmodel(slab: NDArray[np.float32], p: ShrecParameters) -> NDArray[np.float32]:
    """Return the field's potential on the tomogram's grid, `(d, h, w) float32, zyx, volt`."""
    b = p.binning
    left, side = (p.breadth - p.field) // 2 * b, p.field * b
    field = slab[:, left : left + side, p.margin * b : p.margin * b + side]
    return np.ascontiguousarray(block_mean(field, b).transpose(0, 2, 1))


def open_masks(
    p: ShrecParameters, templates: Sequence[Template], inside: Placements
) -> Iterator[tuple[int, NDArray[np.bool_], Triple]]:
    """Yield number (from 1), mask and low corner of every particle on the tomogram's grid, where it is dense."""
    maps = [(t.density > min(MASK_DENSITY, 0.3 * float(t.density.max()))).astype(np.float32) for t in templates]
    reach = [template.radius_angstrom for template in templates]
    for drawing in draw(maps, inside, reach, voxel_size=p.voxel_size_angstrom):
        low = np.maximum(drawing.low, 0)
        high = np.minimum(drawing.low + drawing.values.shape, p.shape)
        part = tuple(slice(a, b) for a, b in zip(low - drawing.low, high - drawing.low, strict=True))
        yield drawing.number + 1, drawing.values[part] > 0.5, (int(low[0]), int(low[1]), int(low[2]))


def bounding_boxes(occupancy: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return each thing's bounding box filled with its number; where boxes overlap, the highest number holds."""
    boxes = np.zeros_like(occupancy)
    for number, box in enumerate(ndimage.find_objects(occupancy), start=1):
        if box is not None:
            boxes[box] = number
    return boxes
