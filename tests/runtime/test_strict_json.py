"""Strict JSON: what parses, and what each refusal says."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from picker_runtime import strict_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: float


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int
    inner: tuple[Inner, ...] = ()
    shape: tuple[int, int] = (1, 2)
    table: dict[str, float | None] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    sides: dict[str, Literal["left", "right"]] = field(default_factory=dict)


def test_round_trip() -> None:
    value = Outer(
        name="é\udcff",
        count=3,
        inner=(Inner(size=1.5),),
        shape=(4, 5),
        table={"a": None, "b": 2.0},
        free={"x": [1, {}]},
        sides={"a": "right"},
    )
    assert strict_json.parse(Outer, strict_json.dump(value), schema=1) == value


def test_a_whole_number_serves_as_a_number() -> None:
    size = strict_json.parse(Inner, '{"size": 2}', schema=1).size
    assert size == 2.0
    assert isinstance(size, float)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"name": "a", "count": 1, "tabel": {}}', "unknown key 'tabel'; the nearest known key is 'table'"),
        ('{"name": "a"}', "key 'count' is missing"),
        ('{"name": "a", "count": 1, "inner": [{"size": 1, "siez": 2}]}', "unknown key 'inner[0].siez'"),
        ('{"name": "a", "count": 1.0}', "count is 1.0, expected a whole number"),
        ('{"name": "a", "count": true}', "count is true, expected a whole number"),
        ('{"name": null, "count": 1}', "name is null, expected a string"),
        ('{"name": "a", "count": 1, "shape": [1]}', "shape has 1 values, expected 2"),
        ('{"name": "a", "count": 1, "shape": "12"}', 'shape is "12", expected an array'),
        ('{"name": "a", "count": 1, "table": {"b": "2"}}', 'table.b is "2", expected a number'),
        ('{"name": "a", "count": 1, "sides": {"b": ["left"]}}', r'sides.b is \["left"\], expected "left" or "right"'),
        ('{"name": "a", "count": 1, "inner": [{"size": NaN}]}', "NaN is not a finite number"),
        ('{"name": "a", "count": 1, "inner": [{"size": 1e999}]}', "1e999 is not a finite number"),
        ('{"name": "a", "count": 1, "free": {"x": -Infinity}}', "-Infinity is not a finite number"),
        ('{"name": "a", "name": "b", "count": 1}', "key 'name' appears twice"),
        ('{"size": 1' + "0" * 400 + "}", "size is too large"),
        ("[]", r"the file is \[\], expected an object"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_refusals_say_where_and_what(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("[0]", r"\[0\]")):
        strict_json.parse(Inner if text.startswith('{"size"') else Outer, text, schema=1)


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        strict_json.dump(Inner(size=float("nan")))


@pytest.mark.parametrize("text", ['{"schema": 3, "size": 2}', '{"schema": 3, "new": {}}'])
def test_of_a_newer_schema_nothing_else_is_judged(text: str) -> None:
    with pytest.raises(strict_json.NewerSchemaError, match="newer picker: schema 3, this one reads 2"):
        strict_json.parse(Inner, text, schema=2)
    with pytest.raises(ValueError, match="unknown key") as refusal:
        strict_json.parse(Inner, text, schema=3)
    assert not isinstance(refusal.value, strict_json.NewerSchemaError)
