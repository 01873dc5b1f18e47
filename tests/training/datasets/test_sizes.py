"""Diameters in another unit than angstrom, or at odds with those of the files, are told."""

from dataclasses import replace

import pytest
from training.labelled import Labelled, only

from picker_training.datasets.findings import Finding


def sized(data: Labelled, diameter: str) -> list[Finding]:
    """Lint with a stated diameter of balls, which the command line lets go before all others."""
    section = replace(data.section, diameters=(f"ball={diameter}",))
    return data.lint(section, diameters=section.diameters_angstrom())


def test_a_diameter_in_nanometres_is_told(data: Labelled) -> None:
    data.write(data.places, form="coords")
    finding = only(sized(data, "6"))
    assert (finding.severity, finding.file) == ("warning", "--diameter ball=6")
    assert finding.found == "ball is 6 A, 0.6 voxels across"
    assert finding.fix.startswith("give angstrom: --diameter ball=60 if")


@pytest.mark.parametrize(("diameter", "count"), [("29", 1), ("30", 0)])
def test_three_voxels_are_enough(data: Labelled, diameter: str, count: int) -> None:
    data.write(data.places, form="coords")
    assert len(sized(data, diameter)) == count


@pytest.mark.parametrize(("diameter", "count"), [("31", 0), ("119", 0), ("121", 1)])
def test_a_diameter_is_that_of_the_files_within_a_factor_of_two(data: Labelled, diameter: str, count: int) -> None:
    data.write(data.places)  # 60 A
    findings = [f for f in sized(data, diameter) if f.file.startswith("--diameter")]
    assert [f.found for f in findings] == ["60 A in one.csv"] * count
