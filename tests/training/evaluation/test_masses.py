"""Masses, size groups and the plot of F1 against mass."""

import xml.etree.ElementTree as ElementTree

import pytest

from picker_training.evaluation.masses import f1_by_mass, mass_of, size_group, size_groups
from picker_training.evaluation.plot import f1_against_mass
from picker_training.evaluation.shrec import CLASSES_2019, CLASSES_2020, CLASSES_2021

SVG = "{http://www.w3.org/2000/svg}"


def test_every_protein_of_the_challenges_has_a_mass() -> None:
    proteins = {*CLASSES_2019, *CLASSES_2020, *CLASSES_2021} - {"vesicle", "fiducial"}
    assert [name for name in proteins if mass_of(name) is None] == []
    assert mass_of("vesicle") is None
    assert mass_of("5MRC") == mass_of("5mrc") == 3326


def test_groups_are_those_of_the_papers() -> None:
    groups = {name: size_group(mass_of(name) or 0) for name in CLASSES_2020}
    assert {name for name, group in groups.items() if group == "small"} == {"1s3x", "3qm1", "3gl1", "3h84", "2cg9"}
    assert {name for name, group in groups.items() if group == "large"} == {"4cr2", "4d8q"}
    assert [size_group(mass) for mass in (199.9, 200, 600, 600.1)] == ["small", "medium", "medium", "large"]


def test_groups_are_means_of_the_classes_that_have_an_f1() -> None:
    class_f1 = {"1s3x": 0.5, "3qm1": 1.0, "3gl1": None, "1bxn": 0.25, "vesicle": 0.0}
    assert size_groups(class_f1) == {"small": 0.75, "medium": 0.25, "large": None}


def test_points_go_from_light_to_heavy() -> None:
    points = f1_by_mass({"4CR2": 0.5, "1s3x": 0.25, "fiducial": 1.0, "1bxn": None})
    assert [point.to_json() for point in points] == [
        {"class": "1s3x", "mass_kda": 43, "f1": 0.25},
        {"class": "4CR2", "mass_kda": 1309, "f1": 0.5},
    ]


def test_plot_places_points_by_mass_and_f1() -> None:
    svg = ElementTree.fromstring(f1_against_mass({"1s3x": 0.0, "1bxn": 1.0, "5mrc": 0.5}, title="a < b"))
    dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in svg.iter(f"{SVG}circle")]
    assert sorted(dots) == dots  # lighter is farther left
    assert dots[1][1] < dots[2][1] < dots[0][1]  # a higher F1 is higher up
    assert dots[2][1] == pytest.approx((dots[0][1] + dots[1][1]) / 2)
    assert svg.findtext(f"{SVG}title") == "a < b"
    assert svg.findtext(f"{SVG}desc") == "1s3x 43 kDa 0.000; 1bxn 560 kDa 1.000; 5mrc 3326 kDa 0.500"


def test_labels_of_close_points_do_not_overlap() -> None:
    svg = ElementTree.fromstring(f1_against_mass(dict.fromkeys(CLASSES_2020, 0.9), title=""))
    texts = [text for text in svg.iter(f"{SVG}text") if text.text in CLASSES_2020]
    places = [(float(text.attrib["x"]), float(text.attrib["y"])) for text in texts]
    assert len(places) == 12
    close = [
        (a, b) for i, a in enumerate(places) for b in places[:i] if abs(a[0] - b[0]) < 30 and abs(a[1] - b[1]) < 11
    ]
    assert close == []


def test_plot_of_nothing_is_still_a_plot() -> None:
    svg = ElementTree.fromstring(f1_against_mass({"vesicle": 1.0}, title="none"))
    assert list(svg.iter(f"{SVG}circle")) == []
