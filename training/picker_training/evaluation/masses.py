"""Classes by mass: the masses, the size groups of the SHREC papers, and F1 against mass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from picker_training.evaluation.confusion import mean

MASSES_KDA = {
    "1s3x": 43.0, "3qm1": 63.0, "3gl1": 85.0, "3h84": 158.0, "2cg9": 189.0, "3d2f": 236.0, "1u6g": 239.0,
    "3cf3": 542.0, "1bxn": 560.0, "1qvr": 593.0, "4v94": 976.0, "4d8q": 976.0, "4cr2": 1309.0, "4b4t": 1309.0,
    "5mrc": 3326.0,
    "apo-ferritin": 480.0, "beta-amylase": 224.0, "beta-galactosidase": 465.0, "thyroglobulin": 660.0,
    "ribosome": 3300.0, "virus-like-particle": 2500.0,
}  # fmt: skip
"""Mass of a particle in kDa, by lower-case class name.

SHREC classes: as the papers' tables print them (Gubins et al. 2019, 2020, 2021), but for 4d8q and 4v94, printed as two
copies: one TRiC of 16 subunits; and 4b4t, which is the proteasome of 4cr2. Classes of the CZII challenge: about, from
their subunits (24 x 20, 4 x 56, 4 x 116, 2 x 330 kDa; the ribosome without, the particle of PP7 with its ligands).
"""

SMALL_KDA, LARGE_KDA = 200.0, 600.0
"""Below the first a particle is small, above the second large: the groups of the SHREC tables.

small 1s3x 3qm1 3gl1 3h84 2cg9; medium 3d2f 1u6g 3cf3 1bxn 1qvr; large 4cr2 4d8q 5mrc (listed so by the evaluation
script of the FakET study, which is the organisers' of 2021).
"""


@dataclass(frozen=True, kw_only=True)
class MassPoint:
    """F1 of a class and its mass in kDa."""

    name: str
    mass_kda: float
    f1: float

    def to_json(self) -> dict[str, Any]:
        """Return the point as plain values."""
        return {"class": self.name, "mass_kda": self.mass_kda, "f1": self.f1}


def mass_of(name: str) -> float | None:
    """Return the mass of a class in kDa, None for what has none here; the case of the name does not matter."""
    return MASSES_KDA.get(name.lower())


def size_group(mass_kda: float) -> str:
    """Return small, medium or large."""
    return "small" if mass_kda < SMALL_KDA else "large" if mass_kda > LARGE_KDA else "medium"


def f1_by_mass(class_f1: Mapping[str, float | None]) -> list[MassPoint]:
    """Return the classes that have a mass and an F1, lightest first."""
    points = [
        MassPoint(name=name, mass_kda=mass, f1=f1)
        for name, f1 in class_f1.items()
        if f1 is not None and (mass := mass_of(name)) is not None
    ]
    return sorted(points, key=lambda point: (point.mass_kda, point.name))


def size_groups(class_f1: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the mean F1 of the small, medium and large classes, None for a group without any."""
    points = f1_by_mass(class_f1)
    return {
        group: mean([point.f1 for point in points if size_group(point.mass_kda) == group])
        for group in ("small", "medium", "large")
    }
