"""Phantoms: balls, dumbbells and rings of protein density, which stand in for the templates of real particles."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.errors import OutputError
from picker_runtime.mrc import write_mrc
from picker_training.datasets.scenes import StoredScene
from picker_training.simulator.microscope import Microscope
from picker_training.simulator.scene import SceneSpec
from picker_training.simulator.templates import GRID_ANGSTROM, MASSES_KDA, Template

PROTEIN_DENSITY = 0.81
"""Da / A^3, that is 1.35 g / cm^3."""

CLASSES = ("3gl1", "3h84", "1u6g")
"""Names for the three shapes; the first is a ball, the second a dumbbell, the third a ring."""

SHARP = Microscope(tilts_degree=tuple(np.linspace(-60.0, 60.0, 15).tolist()), defocus_um=2.0, envelope=1.0)
"""Few tilts and mild optics, so that a tiny network sees something at once."""

SMALL = SceneSpec(shape=(32, 48, 48), particles=9, microscope=SHARP)


def solid(inside: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return protein where a signed distance in voxels is above 0, with an edge one voxel wide."""
    density: NDArray[np.float32] = (PROTEIN_DENSITY * np.clip(inside + 0.5, 0.0, 1.0)).astype(np.float32)
    return density


def ball(radius_angstrom: float, *, voxel_size: float = GRID_ANGSTROM) -> NDArray[np.float32]:
    """Return a ball, `(n, n, n) float32, Da / A^3`."""
    radius = radius_angstrom / voxel_size
    return solid(radius - np.linalg.norm(_grid(radius + 3.0), axis=-1))


def dumbbell(radius_angstrom: float) -> NDArray[np.float32]:
    """Return two balls that touch, one beside the other along x."""
    radius = radius_angstrom / GRID_ANGSTROM
    grid = _grid(2.0 * radius + 3.0)
    sides = [radius - np.linalg.norm(grid - (0.0, 0.0, side * radius), axis=-1) for side in (-1, 1)]
    return solid(np.maximum(*sides))


def ring(radius_angstrom: float) -> NDArray[np.float32]:
    """Return a torus around z whose hole is as wide as its tube."""
    tube = radius_angstrom / GRID_ANGSTROM
    grid = _grid(3.0 * tube + 3.0)
    return solid(tube - np.hypot(np.hypot(grid[..., 1], grid[..., 2]) - 1.5 * tube, grid[..., 0]))


def hook() -> Template:
    """Return three balls of different sizes at right angles: no rotation brings it back onto itself."""
    grid = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), axis=-1)
    balls = [((0, 0, 0), 5.0), ((0, 0, 9), 4.5), ((0, 8, -2), 3.5), ((7, -2, 0), 3.0)]
    inside = np.max([r - np.linalg.norm(grid - np.array(c), axis=-1) for c, r in balls], axis=0)
    mask = (inside > 0).astype(np.float32)
    return Template(name="hook", density=solid(inside), mask=mask, radius_angstrom=70.0, diameter_angstrom=70.0)


def write_phantoms(folder: Path, names: tuple[str, ...] = CLASSES) -> Path:
    """Write one map per name, of that name's mass, balls, dumbbells and rings in turn; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        volume = MASSES_KDA[name] * 1000.0 / PROTEIN_DENSITY
        shapes = (
            lambda: ball(np.cbrt(volume * 3 / (4 * np.pi))),  # noqa: B023
            lambda: dumbbell(np.cbrt(volume * 3 / (8 * np.pi))),  # noqa: B023
            lambda: ring(np.cbrt(volume / (3 * np.pi**2))),  # noqa: B023
        )
        write_mrc(folder / f"{name}.mrc", shapes[number % 3](), GRID_ANGSTROM)
    return folder


def lone(spec: SceneSpec = SMALL) -> SceneSpec:
    """Return the scene with one particle only."""
    return replace(spec, particles=1)


def block_template(half: int = 8) -> Template:
    """Return a template whose density is one block of 3x3x3 voxels, 25 A from the centre along x."""
    density = np.zeros((2 * half + 1,) * 3, np.float32)
    density[half - 1 : half + 2, half - 1 : half + 2, half + 4 : half + 7] = 1.0
    return Template(
        name="block",
        density=density,
        mask=(density > 0).astype(np.float32),
        radius_angstrom=35.0,
        diameter_angstrom=20.0,
    )


@dataclass
class OneScene:
    """A pool that holds one scene."""

    scene: StoredScene
    seed: int = 0
    size: int = 1

    def __getitem__(self, number: int) -> StoredScene:
        return self.scene


def _grid(reach: float) -> NDArray[np.float64]:
    axis = np.arange(-np.ceil(reach), np.ceil(reach) + 1)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)


class FullDisk:
    """A pool whose third sample finds the disk full."""

    seed, size = 0, 4

    def __init__(self, scene: StoredScene) -> None:
        self._scene, self._asked = scene, 0

    def __getitem__(self, number: int) -> StoredScene:
        self._asked += 1
        if self._asked > 2:
            raise OutputError(71, "scenes/0003.npy", "the disk is full", "make room")
        return self._scene
