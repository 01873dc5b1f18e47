"""A folder of small tomograms with dark gaussian balls, and picks files of them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from golden.blob_graph import scattered, volume_with_blobs
from numpy.typing import NDArray

from picker_runtime.detections import Detections
from picker_runtime.formats import WRITERS, FormatContext
from picker_runtime.mrc import write_mrc
from picker_training.datasets.findings import Finding
from picker_training.datasets.lint import Expectations, lint
from picker_training.datasets.picks import read_annotations
from picker_training.picks_section import PicksSection

SHAPE = (40, 56, 72)
VOXEL_SIZE = 10.0
DIAMETER = 60.0
CONTEXT = FormatContext(tomogram="one", shape=SHAPE, voxel_size=VOXEL_SIZE, class_names=("ball", "ring"))


def picks_at(
    positions: NDArray[np.float64], *, class_ids: NDArray[np.int32] | None = None, diameter: float = DIAMETER
) -> Detections:
    """Return picks of score 1 at places `(n, 3) zyx, voxels`, all of the first class if none are given."""
    n = len(positions)
    return Detections(
        positions=np.asarray(positions, np.float64), diameters=np.full(n, diameter), scores=np.ones(n),
        class_ids=np.zeros(n, np.int32) if class_ids is None else class_ids,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A folder with tomograms, and one with picks files; `places` of the balls in the first, `(n, 3) zyx, voxels`."""

    tomograms: Path
    picks: Path
    places: NDArray[np.float64]

    @property
    def section(self) -> PicksSection:
        """The configuration with every picks file there is."""
        return PicksSection(tomograms=str(self.tomograms), files=tuple(map(str, sorted(self.picks.iterdir()))))

    def write(
        self, positions: NDArray[np.float64], *, form: str = "csv", name: str = "one", tomogram: str = "one"
    ) -> None:
        """Write a picks file of the class `ball`."""
        WRITERS[form](self.picks, name, picks_at(positions), replace(CONTEXT, tomogram=tomogram))
        (self.picks / "particles_index.star").unlink(missing_ok=True)

    def lint(self, section: PicksSection | None = None, **expected: object) -> list[Finding]:
        """Return what is wrong."""
        expectations = replace(Expectations(diameters={"ball": DIAMETER}), **expected)  # type: ignore[arg-type]
        section = section or self.section
        return lint(read_annotations(section), section, expectations)


def labelled(folder: Path, *, names: tuple[str, ...] = ("one",), voxel_size: float = VOXEL_SIZE) -> Labelled:
    """Make a folder of tomograms; their balls lie in the upper half of z, so that up and down differ."""
    (folder / "tomograms").mkdir(parents=True)
    (folder / "picks").mkdir()
    places = np.array([])
    for number, name in reversed(list(enumerate(names))):
        places = scattered(SHAPE, count=30, apart=8, margin=4, seed=number)
        volume = volume_with_blobs(SHAPE, places, dark=True, seed=number)
        write_mrc(folder / f"tomograms/{name}.mrc", volume, voxel_size)
    return Labelled(tomograms=folder / "tomograms", picks=folder / "picks", places=places)


def only(findings: list[Finding]) -> Finding:
    """Return the one finding that there is."""
    (finding,) = findings
    return finding
