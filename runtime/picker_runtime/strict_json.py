"""Strict JSON: dataclasses to text and back; an unknown, missing or mistyped key is an error that says where."""

import dataclasses
import difflib
import json
import math
import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def dump(value: object) -> str:
    """Return a dataclass as indented JSON that ends with a newline.

    Raises:
        ValueError: if it holds NaN or an infinity.
    """
    return json.dumps(dataclasses.asdict(value), indent=2, allow_nan=False) + "\n"  # type: ignore[call-overload]


class NewerSchemaError(ValueError):
    """The text was written by a newer version, whose keys may mean what this one does not know."""


def parse(kind: type[T], text: str, *, schema: int) -> T:
    """Return the dataclass that the text holds; a `schema` in it that is above the one given is all that is read.

    Raises:
        ValueError: saying where (`classes[0].threshold`), what was found and what was expected.
        NewerSchemaError: for a newer schema.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_finite, parse_float=_finite)
        if isinstance(value, dict) and type(value.get("schema")) is int and value["schema"] > schema:
            raise NewerSchemaError(f"was written by a newer picker: schema {value['schema']}, this one reads {schema}")
        result: T = _convert(value, kind, "")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return result


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} appears twice")
    return result


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _convert(value: Any, kind: Any, place: str) -> Any:
    """Return the JSON value as the annotated type."""
    if kind is Any:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _object(value, kind, place)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None else _convert(value, inner, place)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{place} is {json.dumps(value)[:40]}, expected {' or '.join(map(json.dumps, arguments))}")
        return value
    if origin is tuple:
        return _array(value, arguments, place)
    if origin is dict:
        entries = _expect(value, dict, "an object", place)
        return {key: _convert(item, arguments[1], _join(place, key)) for key, item in entries.items()}
    return _scalar(value, kind, place)


def _object(value: Any, kind: type[Any], place: str) -> Any:
    entries = _expect(value, dict, "an object", place)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    for key in entries:
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown key {_join(place, key)!r}; the nearest known key is {nearest!r}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in entries:
            raise ValueError(f"key {_join(place, name)!r} is missing")
    return kind(**{key: _convert(item, hints[key], _join(place, key)) for key, item in entries.items()})


def _array(value: Any, kinds: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    items = _expect(value, list, "an array", place)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(items) != len(kinds):
        raise ValueError(f"{place} has {len(items)} values, expected {len(kinds)}")
    return tuple(_convert(item, kind, f"{place}[{i}]") for i, (item, kind) in enumerate(zip(items, kinds, strict=True)))


def _scalar(value: Any, kind: type[Any], place: str) -> Any:
    names: dict[type[Any], str] = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError(f"{place} is too large") from error
    return _expect(value, kind, names[kind], place)


def _expect(value: Any, kind: Callable[..., Any], name: str, place: str) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{place or 'the file'} is {json.dumps(value)[:40]}, expected {name}")
    return value


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def require(good: object, problem: str) -> None:
    """Refuse a value.

    Raises:
        ValueError: with the problem, unless the value is good.
    """
    if not good:
        raise ValueError(problem)
