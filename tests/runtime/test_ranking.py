"""Rankings answer as the sorted values would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from picker_runtime import ranking as ranking_module
from picker_runtime.ranking import Ranking

ANY = st.floats(width=32, allow_nan=False, allow_infinity=False)
NEAR = st.sampled_from([np.float32(1) + np.float32(2.0**-k) for k in range(8, 24)])
"""Values that share their first 16 bits."""


@st.composite
def samples(draw: st.DrawFn) -> np.ndarray:
    """Draw a few values of one kind, many of them equal."""
    kind = draw(st.sampled_from([ANY, NEAR, st.integers(-300, 300), st.sampled_from([0.0, -0.0, 1e-42, -1e-42, 1.0])]))
    few = draw(st.lists(kind, min_size=1, max_size=12))
    picked = draw(arrays(np.intp, st.integers(1, 60), elements=st.integers(0, len(few) - 1)))
    return np.array(few, np.float32)[picked]


@given(samples())
def test_every_place_and_every_run_is_that_of_the_sorted_values(values: np.ndarray) -> None:
    ordered, ranking = np.sort(values), Ranking(values)
    assert ranking.size == len(values)
    for place, value in enumerate(ordered):
        assert ranking.at(place) == value
        expected = np.searchsorted(ordered, value), np.searchsorted(ordered, value, "right")
        assert ranking.run(value) == expected


@given(samples(), st.integers(0, 20))
def test_common_values_are_all_found_in_order(values: np.ndarray, count: int) -> None:
    distinct, counts = np.unique(values, return_counts=True)
    assert Ranking(values).commoner_than(count) == list(distinct[counts > count])


def test_counting_in_chunks_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_module, "CHUNK", 7)
    values = np.random.default_rng(0).standard_normal(1000, dtype=np.float32)
    ranking = Ranking(values)
    assert [ranking.at(place) for place in range(1000)] == list(np.sort(values))


def test_values_are_left_as_they_were() -> None:
    values = np.array([3, -0.0, 1], np.float32)
    ranking = Ranking(values)
    assert ranking.at(0) == 0
    assert values.tolist() == [3, 0, 1]
    assert np.signbit(values[1])


def test_fractions_beyond_the_first_chunk_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_module, "CHUNK", 4)
    values = np.array([1, 1, 1, 1, 1 + 2.0**-20, 1], np.float32)
    assert Ranking(values).at(5) == np.float32(1 + 2.0**-20)
    assert Ranking(values).run(np.float32(1)) == (0, 5)
