"""Model cards: strict JSON both ways, ranges, contradictions."""

import json
from typing import Any

import pytest

from picker_runtime.card import ModelCard, ParticleClass
from picker_runtime.errors import ModelError

CARD = ModelCard(
    name="tiny",
    version="1.0",
    licence="Apache-2.0",
    classes=(
        ParticleClass(name="1bxn", diameter_angstrom=130.0, threshold=0.4, colour="#1f77b4"),
        ParticleClass(name="4d8q", diameter_angstrom=170.5, threshold=0.3, colour="#ff7f0e"),
    ),
    voxel_size_angstrom=10.0,
    polarity="dark",
    output_stride=2,
    alignment=8,
    halo=16,
    halo_curve={"8": 0.98, "16": 0.997},
    tile=(64, 96, 96),
    max_candidates=1024,
    candidate_floor=0.05,
    nms_fraction=0.5,
    statistics="median-mad-v1",
    files={"model.onnx": "0" * 64},
    training={"steps": 1000},
    metrics={"distance": {"f1": 0.98}},
)


def test_round_trip() -> None:
    assert ModelCard.from_json(CARD.to_json(), subject="card.json") == CARD
    assert CARD.class_names == ("1bxn", "4d8q")


def test_the_text_is_the_same_after_a_round_trip() -> None:
    assert ModelCard.from_json(CARD.to_json(), subject="card.json").to_json() == CARD.to_json()


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("treshold", 0.5, "unknown key 'treshold'"),
        ("nms_fracton", 0.5, "unknown key 'nms_fracton'; the nearest known key is 'nms_fraction'"),
        ("schema", 0, "schema is 0, expected 1 to 1"),
        ("name", "../x", "name is '../x'"),
        ("name", 3, "name is 3, expected a string"),
        ("classes", [], "expected at least one"),
        ("voxel_size_angstrom", 0.2, "voxel_size_angstrom is 0.2"),
        ("voxel_size_angstrom", "10", 'voxel_size_angstrom is "10", expected a number'),
        ("polarity", "grey", "polarity is 'grey', expected dark or bright"),
        ("output_stride", 0, "output_stride is 0"),
        ("output_stride", 3, "alignment is 8, expected a multiple of 3"),
        ("alignment", 0, "alignment is 0"),
        ("margin", -1, "margin is -1, expected 0 or more"),
        ("halo", -1, "halo is -1"),
        ("halo", 32, "larger than two halos of 32"),
        ("halo_curve", {"8": 1.5}, r"halo_curve\['8'\] is 1.5"),
        ("halo_curve", {"eight": 1.0}, r"halo_curve\['eight'\]"),
        ("tile", [64, 96, 100], "multiples of 8"),
        ("tile", [64, 96], "tile has 2 values, expected 3"),
        ("max_candidates", 3841, "max_candidates is 3841"),
        ("max_candidates", 0, "max_candidates is 0"),
        ("candidate_floor", 0, "candidate_floor is 0.0"),
        ("candidate_floor", 0.35, "threshold of 4d8q is 0.3, below candidate_floor 0.35"),
        ("nms_fraction", 0, "nms_fraction is 0.0"),
        ("statistics", "mean-std", "statistics is 'mean-std', expected one of median-mad-v1"),
        ("files", {"../model.onnx": "0" * 64}, "expected a plain file name"),
        ("files", {"model.onnx": "abc"}, "expected 64 hexadecimal digits"),
    ],
)
def test_a_bad_value_is_refused(key: str, value: object, problem: str) -> None:
    text = json.dumps({**json.loads(CARD.to_json()), key: value})
    with pytest.raises(ModelError, match=f"E51 tiny/card.json: .*{problem}"):
        ModelCard.from_json(text, subject="tiny/card.json")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("name", "4D8Q", "class name is '4D8Q'"),
        ("name", "1bxn", "no doubles"),
        ("name", "a/b", "class name is 'a/b'"),
        ("diameter_angstrom", 0, "diameter_angstrom of 4d8q is 0.0"),
        ("threshold", 1.1, "threshold of 4d8q is 1.1"),
        ("colour", "red", "colour of 4d8q is 'red', expected #rrggbb"),
        ("color", "#000000", r"unknown key 'classes\[1\].color'; the nearest known key is 'colour'"),
    ],
)
def test_a_bad_class_is_refused(key: str, value: object, problem: str) -> None:
    content: dict[str, Any] = json.loads(CARD.to_json())
    content["classes"][1][key] = value
    with pytest.raises(ModelError, match=problem):
        ModelCard.from_json(json.dumps(content), subject="card.json")


@pytest.mark.parametrize("key", sorted({"name", "classes", "halo", "files", "nms_fraction"}))
def test_a_missing_key_is_named(key: str) -> None:
    content = json.loads(CARD.to_json())
    del content[key]
    with pytest.raises(ModelError, match=f"key '{key}' is missing"):
        ModelCard.from_json(json.dumps(content), subject="card.json")


def test_a_tile_holds_at_least_its_candidates() -> None:
    content = {**json.loads(CARD.to_json()), "tile": [8, 8, 8], "halo": 0, "max_candidates": 65}
    with pytest.raises(ModelError, match=r"max_candidates is 65.*no more than a tile's cells"):
        ModelCard.from_json(json.dumps(content), subject="card.json")


def test_a_card_of_a_newer_picker_is_called_so_whatever_else_it_holds() -> None:
    newer = json.dumps(json.loads(CARD.to_json()) | {"schema": 2, "padding": 3})
    with pytest.raises(ModelError, match=r"E51 card\.json: was written by a newer picker: schema 2.* install that"):
        ModelCard.from_json(newer, subject="card.json")
