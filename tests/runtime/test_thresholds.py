import math

import numpy as np
import pytest

from picker_runtime.errors import UsageError
from picker_runtime.thresholds import as_array, resolve

DEFAULTS = {"4d8q": 0.3, "1s3x": 0.4, "3qm1": 0.5}


@pytest.mark.parametrize(
    ("wanted", "classes", "expected"),
    [
        (None, None, DEFAULTS),
        (0.2, None, {"4d8q": 0.2, "1s3x": 0.2, "3qm1": 0.2}),
        ({"1s3x": 1.0}, None, {"4d8q": 0.3, "1s3x": 1.0, "3qm1": 0.5}),
        (None, ["3qm1", "4d8q"], {"4d8q": 0.3, "3qm1": 0.5}),
        ({"1s3x": 0.2, "3qm1": 0.6}, ["3qm1"], {"3qm1": 0.6}),
    ],
)
def test_defaults_are_replaced_and_classes_left_out(wanted: object, classes: object, expected: object) -> None:
    assert resolve(DEFAULTS, floor=0.1, wanted=wanted, classes=classes) == expected


@pytest.mark.parametrize("wanted", [0.09, 1.01, math.nan, {"4d8q": 0.09}, {"4D8Q": 0.5}])
def test_impossible_thresholds_are_refused(wanted: object) -> None:
    with pytest.raises(UsageError, match="E80"):
        resolve(DEFAULTS, floor=0.1, wanted=wanted)


def test_unknown_classes_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"E80 class 9xyz.*4d8q, 1s3x, 3qm1"):
        resolve(DEFAULTS, floor=0.1, classes=["9xyz"])


def test_a_class_without_a_threshold_is_out_of_reach() -> None:
    np.testing.assert_array_equal(as_array({"b": 0.5}, ["a", "b"]), [np.inf, 0.5])
