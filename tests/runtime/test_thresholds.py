import math

import numpy as np
import pytest

from picker_runtime.errors import UsageError
from picker_runtime.thresholds import as_array, of_classes, resolve

DEFAULTS = {"4d8q": 0.3, "1s3x": 0.4, "3qm1": 0.5}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, DEFAULTS),
        (0.2, {"4d8q": 0.2, "1s3x": 0.2, "3qm1": 0.2}),
        ({"1s3x": 1.0}, {"4d8q": 0.3, "1s3x": 1.0, "3qm1": 0.5}),
    ],
)
def test_defaults_are_replaced(wanted: object, expected: dict[str, float]) -> None:
    assert list(resolve(DEFAULTS, floor=0.1, wanted=wanted).items()) == list(expected.items())


def test_classes_are_left_out_in_the_order_of_all() -> None:
    assert of_classes(DEFAULTS, None) == DEFAULTS
    assert list(of_classes(DEFAULTS, ["3qm1", "4d8q"]).items()) == [("4d8q", 0.3), ("3qm1", 0.5)]


@pytest.mark.parametrize("wanted", [0.09, 1.01, math.nan, {"4d8q": 0.09}, {"4D8Q": 0.5}])
def test_impossible_thresholds_are_refused(wanted: object) -> None:
    with pytest.raises(UsageError, match="E80"):
        resolve(DEFAULTS, floor=0.1, wanted=wanted)


def test_unknown_classes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"E80 class 9xyz.*4d8q, 1s3x, 3qm1"):
        of_classes(DEFAULTS, ["9xyz"])


def test_a_class_without_a_threshold_is_out_of_reach() -> None:
    np.testing.assert_array_equal(as_array({"b": 0.5}, ["a", "b"]), [np.inf, 0.5])
