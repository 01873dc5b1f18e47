"""Scales: coordinates of another scale are told with what to type, and where it is not sure, with all that may be."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from training.labelled import CONTEXT, DIAMETER, SHAPE, VOXEL_SIZE, Labelled, only, picks_at

from picker_runtime.formats import WRITERS

SHORT = 0.85
"""Picks within this share of each axis fit at several scales."""


def short(data: Labelled) -> NDArray[np.float64]:
    """Return the places near enough to the origin to fit at a larger scale, too."""
    places = data.places[np.all(data.places < SHORT * np.array(SHAPE), axis=1)]
    assert len(places) >= 12
    return places


@pytest.mark.parametrize(("factor", "name"), [(10.0, "the voxel size"), (2.0, "binning"), (4.0, "binning")])
def test_coordinates_of_another_scale_are_told_with_the_factor(data: Labelled, factor: float, name: str) -> None:
    data.write(data.places * factor)
    finding = only(data.lint())
    assert finding.severity == "error"
    assert f"divided by {factor:g} ({name}) all fit" in finding.found
    assert f"in {SHAPE[2]} voxels" in finding.found or f"in {SHAPE[1]} voxels" in finding.found
    assert finding.fix == f"--scale {1 / factor:g}"
    assert data.lint(replace(data.section, scale=1 / factor)) == []


def test_picks_in_a_corner_may_have_been_binned(data: Labelled) -> None:
    data.write(data.places / 4)
    finding = only([f for f in data.lint() if "they still fit" in f.found])
    assert (finding.severity, finding.fix) == ("error", "--scale 4")


def test_picks_that_do_lie_in_a_corner_are_left_alone(data: Labelled) -> None:
    corner = data.places[np.all(data.places < np.array(SHAPE) / 2 - 1, axis=1)]
    assert len(corner) >= 2
    data.write(np.repeat(corner, 8, axis=0))
    assert {f.found.split(":")[0] for f in data.lint()} == {"the same place again"}


def test_centred_coordinates_are_scaled_about_the_centre(data: Labelled) -> None:
    centre = np.array(SHAPE) / 2
    data.write(centre + (data.places - centre) * 8, form="relion5")
    section = replace(data.section, renamed=("1=ball",))
    assert only(data.lint(section)).fix == "--scale 0.125"
    assert data.lint(replace(section, scale=0.125)) == []


def test_of_two_scales_that_fit_density_tells_the_right_one(data: Labelled) -> None:
    data.write(short(data) * VOXEL_SIZE, form="coords")
    finding = only(data.lint())
    assert finding.fix == "--scale 0.1"  # divided by 8 they fit too
    assert "divided by 10 (the voxel size) all fit, on density that differs by" in finding.found


def test_binned_picks_are_not_taken_for_angstrom(data: Labelled) -> None:
    data.write(short(data) * 8, form="coords")
    section = replace(data.section, voxel_size_angstrom=7.0)
    finding = only(data.lint(section, voxel_size=7.0, diameters={"ball": DIAMETER * 0.7}))
    assert finding.fix == "--scale 0.125"  # divided by 7 they fit too


def test_where_density_does_not_tell_all_that_fit_are_named(data: Labelled) -> None:
    data.write(short(data)[:9] * 8, form="coords")
    finding = only(data.lint(replace(data.section, voxel_size_angstrom=7.0), voxel_size=7.0))
    assert finding.severity == "error"
    assert finding.fix == (
        "--scale 0.125 for binning 8, or --scale 0.142857 if they are in angstrom, or --scale OLD/NEW "
        "if the tomogram's voxel size was changed from OLD to NEW; compare in a viewer"
    )


def test_picks_of_a_tomogram_that_was_rescaled_are_not_called_binned(data: Labelled) -> None:
    data.write(data.places * 1.4, form="coords")
    finding = only(data.lint())
    assert "does not single one out" in finding.found
    assert "--scale OLD/NEW" in finding.fix


def test_the_scale_goes_on_from_the_one_given_and_from_the_face_that_z_counts_from(data: Labelled) -> None:
    turned = data.places.copy()
    turned[:, 0] = SHAPE[0] - 1 - turned[:, 0]
    data.write(turned * 4, form="coords")
    section = replace(data.section, flip_z=True)
    assert only(data.lint(replace(section, scale=0.5))).fix == "--scale 0.25"
    assert data.lint(replace(section, scale=0.25)) == []


def write_csv(data: Labelled, positions: NDArray[np.float64], voxel_size: float) -> None:
    """Write our CSV with the angstrom columns of voxels of that size."""
    WRITERS["csv"](data.picks, "one", picks_at(positions), replace(CONTEXT, voxel_size=voxel_size))


def test_a_csv_knows_of_which_voxel_size_its_voxels_are(data: Labelled) -> None:
    write_csv(data, data.places * VOXEL_SIZE / 7.0, 7.0)
    finding = only(data.lint())
    assert finding.fix == "--scale 0.7"
    assert "(7 A a voxel by its angstrom columns, 10 A in one) all fit" in finding.found
    assert data.lint(replace(data.section, scale=0.7)) == []


def test_a_csv_of_another_voxel_size_is_told_where_density_does_not_tell(data: Labelled) -> None:
    write_csv(data, data.places[:5] * VOXEL_SIZE / 10.3, 10.3)
    finding = only(data.lint())
    assert (finding.severity, finding.fix.split(" if")[0]) == ("warning", "--scale 1.03")
    assert data.lint(replace(data.section, scale=1.03)) == []
    write_csv(data, data.places[:5], 10.1)
    assert data.lint() == []


def test_a_csv_whose_voxels_lie_on_particles_is_left_alone(data: Labelled) -> None:
    write_csv(data, data.places, 9.6)
    assert data.lint() == []
