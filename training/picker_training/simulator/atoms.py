"""Atomic models (PDB, mmCIF) to mass density, with the biological assembly applied."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from picker_runtime.extras import require

MODEL_SUFFIXES = (".pdb", ".cif", ".ent", ".mmcif")

HYDROGEN_FACTOR = 1.07
"""Models of proteins mostly lack hydrogens, about 7 % of a protein's mass."""


def read_atoms(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the first biological assembly of a model, without water.

    Returns positions `(n, 3) float64, zyx, angstrom` and masses `(n,) float64, dalton`.
    """
    gemmi = require("gemmi", extra="training")
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    structure.remove_waters()
    if structure.assemblies:
        structure.transform_to_assembly(structure.assemblies[0].name, gemmi.HowToNameCopiedChain.AddNumber)
    atoms = [cra.atom for cra in structure[0].all()]
    positions = np.array([(a.pos.z, a.pos.y, a.pos.x) for a in atoms], dtype=np.float64)
    masses = np.array([a.element.weight * a.occ for a in atoms], dtype=np.float64)
    has_hydrogen = any(a.element.is_hydrogen for a in atoms)
    return positions, masses if has_hydrogen else masses * HYDROGEN_FACTOR


def density_from_atoms(path: Path, voxel_size: float, *, blur_angstrom: float = 2.0) -> NDArray[np.float32]:
    """Return the mass density of a model as `(d, h, w) float32, zyx, Da / A^3`, each atom a Gaussian."""
    positions, masses = read_atoms(path)
    reach = 3.0 * blur_angstrom
    low = positions.min(axis=0) - reach - voxel_size
    shape = np.ceil((positions.max(axis=0) + reach + voxel_size - low) / voxel_size).astype(int) + 1
    grid = np.zeros(shape, np.float64)
    scaled = (positions - low) / voxel_size
    nearest = np.round(scaled).astype(int)
    steps = range(-int(np.ceil(reach / voxel_size)), int(np.ceil(reach / voxel_size)) + 1)
    peak = 1.0 / ((2.0 * np.pi) ** 1.5 * blur_angstrom**3)
    for dz in steps:
        for dy in steps:
            for dx in steps:
                voxel = nearest + np.array([dz, dy, dx])
                distance2 = ((voxel - scaled) ** 2).sum(axis=1) * voxel_size**2
                np.add.at(grid, tuple(voxel.T), masses * peak * np.exp(-distance2 / (2.0 * blur_angstrom**2)))
    return grid.astype(np.float32)
