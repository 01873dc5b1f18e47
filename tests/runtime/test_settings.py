import pytest

from picker_runtime.errors import UsageError
from picker_runtime.settings import Thresholds, parse_classes, parse_tile


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        ([], {}),
        (["0.4"], {"a": 0.4, "b": 0.4}),
        (["b=0.7"], {"b": 0.7}),
        (["b=0.7", "0.4"], {"a": 0.4, "b": 0.7}),
        (["0.4", "0.5"], {"a": 0.5, "b": 0.5}),
        (["a=b=0.1"], {"a=b": 0.1}),
    ],
)
def test_a_class_s_own_threshold_wins_wherever_it_stands(texts: list[str], wanted: dict[str, float]) -> None:
    assert Thresholds.parse(texts).wanted(["a", "b"]) == wanted


@pytest.mark.parametrize("text", ["", "high", "a=", "1.5", "-0.1", "nan", "a=inf"])
def test_a_threshold_is_a_number_from_0_to_1(text: str) -> None:
    with pytest.raises(UsageError, match="E80 --threshold"):
        Thresholds.parse([text])


@pytest.mark.parametrize(
    ("text", "tile"),
    [(None, None), ("96", (96, 96, 96)), ("64,160,128", (64, 160, 128)), ("64 160 128", (64, 160, 128))],
)
def test_a_tile_is_one_edge_or_three(text: str | None, tile: tuple[int, int, int] | None) -> None:
    assert parse_tile(text) == tile


@pytest.mark.parametrize("text", ["", "0", "64,160", "1,2,3,4", "-96", "9.6", "big"])
def test_other_tiles_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="E80 --tile"):
        parse_tile(text)


def test_classes_are_separated_by_commas() -> None:
    assert parse_classes(" 1bxn, 4d8q,") == ("1bxn", "4d8q")
    assert parse_classes(None) is None
    with pytest.raises(UsageError, match="E80 --classes"):
        parse_classes(" , ")
