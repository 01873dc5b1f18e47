"""Templates: one density map per class, from MRC maps or atomic models, normalised to mass and centred."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from picker_runtime.errors import UsageError
from picker_runtime.geometry import Box
from picker_runtime.mrc import MrcFile
from picker_training.simulator.atoms import MODEL_SUFFIXES, density_from_atoms

GRID_ANGSTROM = 5.0
"""Grid of every template; particles are drawn from it at the tomogram's coarser voxel size."""

BLUR_ANGSTROM = 3.0
"""Gaussian width of a template: about that of a map averaged over blocks of 10 A (10 / sqrt(12))."""

MASK_DENSITY = 0.157
"""Density in Da / A^3 above which a voxel belongs to the particle.

It gives 4cr2 and 5mrc the volumes that SHREC 2020 and 2021 publish (2675 and 6372 nm^3).
"""

CLOSING_ANGSTROM = 30.0
"""Radius of the ball that closes a mask, so that the centre of a hollow particle belongs to it."""

MASSES_KDA = {
    "1s3x": 43.0, "3qm1": 58.0, "3gl1": 84.0, "3h84": 147.0, "2cg9": 171.0, "3d2f": 222.0, "1u6g": 223.0,
    "3cf3": 494.0, "1bxn": 523.0, "1qvr": 560.0, "4cr2": 1309.0, "4d8q": 976.0, "5mrc": 3326.0, "1f4a": 465.0,
    "6qzp": 3800.0, "7n4y": 620.0, "8tux": 2900.0, "6z6u": 470.0, "6pxm": 480.0, "2uv8": 2600.0, "4v4r": 2300.0,
    "6utj": 730.0, "3j9i": 700.0,
}  # fmt: skip
"""Mass of each biological assembly without hydrogens, in kDa, for maps whose grey scale is arbitrary."""

MASSES = "masses.toml"
"""File beside maps that states masses in kDa by name, before those of the table."""

LARGEST_GRID = 50.0
"""Voxel size in angstrom; a map that claims more has another unit, or a broken header."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """One particle, centre of mass at the centre voxel of odd cubes on `GRID_ANGSTROM`.

    density: `(n, n, n) float32, zyx, Da / A^3`.
    mask: `(n, n, n) float32`, 1 inside the particle, closed and without holes.
    radius_angstrom: distance from the centre within which the whole mask lies.
    diameter_angstrom: diameter of the sphere that has the mask's volume.
    """

    name: str
    density: NDArray[np.float32]
    mask: NDArray[np.float32]
    radius_angstrom: float
    diameter_angstrom: float

    @property
    def mass_kda(self) -> float:
        """Mass from the density's sum."""
        return float(self.density.sum()) * GRID_ANGSTROM**3 / 1000.0


def load_templates(
    folder: Path, names: tuple[str, ...], *, target_blur_angstrom: float = BLUR_ANGSTROM
) -> list[Template]:
    """Load the template of every name from a folder of maps and atomic models.

    target_blur_angstrom: the Gaussian width that maps are brought to; those that are smoother already stay so.

    Raises:
        UsageError: E84 if the folder holds no file for a name.
    """
    return [load_template(find_template(folder, name), name, target_blur_angstrom) for name in names]


def find_template(folder: Path, name: str) -> Path:
    """Return the best file for a name: biological assemblies before other maps, fine grids first, atomic models last.

    A file belongs to a name if its stem is the name or starts with the name and an underscore, in either case.

    Raises:
        UsageError: E84 if there is none.
    """
    wanted = name.lower()
    files = sorted(p for p in folder.rglob("*") if p.stem.lower() == wanted or p.stem.lower().startswith(f"{wanted}_"))
    ranked = [(rank, path) for path in files if (rank := _rank(path)) is not None]
    if not ranked:
        raise UsageError(
            84,
            str(folder),
            f"no template for {name!r}: neither {name}.mrc nor {name}.pdb nor {name}.cif lies there",
            "put a density map or an atomic model of that name into the folder",
        )
    return min(ranked)[1]


def _rank(path: Path) -> tuple[int, float] | None:
    if path.suffix in MODEL_SUFFIXES:
        return (2, 0.0)
    if path.suffix not in (".mrc", ".map"):
        return None
    with MrcFile(path) as file:
        return (0 if "assembly" in path.parent.name else 1, float(np.mean(file.header.voxel_size_angstrom)))


def load_template(path: Path, name: str, target_blur_angstrom: float = BLUR_ANGSTROM) -> Template:
    """Read one map or atomic model and bring it to the common grid, blur, mass and centre.

    Raises:
        UsageError: E84 for a map without voxel size, or of a class whose mass is not known.
    """
    if path.suffix in MODEL_SUFFIXES:
        density = density_from_atoms(path, GRID_ANGSTROM)
        return make_template(name, density, GRID_ANGSTROM, blur_angstrom=2.0, target_blur_angstrom=target_blur_angstrom)
    with MrcFile(path) as file:
        density = file.read(Box.whole(file.header.shape))
        voxel_size = float(np.mean(file.header.voxel_size_angstrom))
    if not 0 < voxel_size < LARGEST_GRID:
        problem = f"voxel size {voxel_size:g} A in the header, expected 0 to {LARGEST_GRID:g}"
        raise UsageError(84, path.name, problem, "write the map's own into its header")
    in_daltons = "assembly" in path.parent.name and density.max() < 2.0
    mass = None if in_daltons else _mass_kda(path, name)
    return make_template(
        name,
        density,
        voxel_size,
        blur_angstrom=0.4 * voxel_size,
        mass_kda=mass,
        target_blur_angstrom=target_blur_angstrom,
    )


def _mass_kda(map_: Path, name: str) -> float:
    """Return the mass that is stated for a class beside its map, else the one that is known."""
    file = map_.parent / MASSES
    try:
        stated = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise UsageError(84, str(file), f"not a readable TOML file ({error})", "correct the file") from error
    mass = stated.get(name, MASSES_KDA.get(name))
    if mass is None:
        problem = f"the mass of {name} is not known, and the grey scale of a map does not tell it"
        raise UsageError(84, map_.name, problem, f"write `{name} = MASS`, in kDa, into {file}")
    if not isinstance(mass, int | float) or not 0 < mass < float("inf"):
        raise UsageError(84, str(file), f"the mass of {name} is {mass!r}", "give a number of kDa")
    return float(mass)


def make_template(
    name: str,
    density: NDArray[np.float32],
    voxel_size: float,
    *,
    blur_angstrom: float,
    mass_kda: float | None = None,
    target_blur_angstrom: float = BLUR_ANGSTROM,
) -> Template:
    """Build a template from a density on any grid; `blur_angstrom` is the Gaussian width it already has."""
    cropped = _cropped(np.maximum(density, 0.0))
    fine = ndimage.zoom(cropped, voxel_size / GRID_ANGSTROM, order=3, mode="grid-constant", grid_mode=True)
    if mass_kda is not None:
        fine = fine * (mass_kda * 1000.0 / (fine.sum() * GRID_ANGSTROM**3))
    missing = np.sqrt(max(target_blur_angstrom**2 - blur_angstrom**2, 0.0)) / GRID_ANGSTROM
    fine = _centred(np.maximum(ndimage.gaussian_filter(fine, missing), 0.0))
    mask = closed_mask(fine)
    z, y, x = np.nonzero(mask)
    half = fine.shape[0] // 2
    radius2 = (z - half) ** 2 + (y - half) ** 2 + (x - half) ** 2
    return Template(
        name=name,
        density=fine.astype(np.float32),
        mask=mask.astype(np.float32),
        radius_angstrom=float(np.sqrt(radius2.max())) * GRID_ANGSTROM,
        diameter_angstrom=float(np.cbrt(6.0 / np.pi * mask.sum())) * GRID_ANGSTROM,
    )


def closed_mask(density: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the particle's voxels: above `MASK_DENSITY`, closed by a ball, holes filled, the centre voxel among them.

    The ball's radius is `CLOSING_ANGSTROM`, and 10 A more for as long as the centre stays outside.
    """
    solid = density > min(MASK_DENSITY, 0.3 * float(density.max()))
    half = density.shape[0] // 2
    for radius in range(round(CLOSING_ANGSTROM / GRID_ANGSTROM), half, 2):
        offsets = np.arange(-radius, radius + 1) ** 2
        ball = offsets[:, None, None] + offsets[None, :, None] + offsets[None, None, :] <= radius**2
        closed = ndimage.binary_closing(np.pad(solid, radius), ball)[(slice(radius, -radius),) * 3]
        mask: NDArray[np.bool_] = ndimage.binary_fill_holes(closed)
        if mask[half, half, half]:
            return mask
    return solid


def _cropped(density: NDArray[np.floating]) -> NDArray[np.floating]:
    """Cut away empty borders (below 1 % of the maximum) and leave four empty voxels around."""
    index = np.argwhere(density > 0.01 * density.max())
    low, high = index.min(axis=0), index.max(axis=0) + 1
    return np.pad(density[tuple(slice(a, b) for a, b in zip(low, high, strict=True))], 4)


def _centred(density: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return an odd cube with the centre of mass at its centre voxel."""
    centre = np.array(ndimage.center_of_mass(density))
    half = int(np.ceil(np.maximum(centre, np.array(density.shape) - 1 - centre).max())) + 2
    cube = np.zeros((2 * half + 1,) * 3)
    starts = half - np.round(centre).astype(int)
    cube[tuple(slice(s, s + n) for s, n in zip(starts, density.shape, strict=True))] = density
    moved: NDArray[np.floating] = ndimage.shift(cube, half - (centre + starts), order=3)
    positive: NDArray[np.floating] = np.maximum(moved, 0.0)
    return positive
