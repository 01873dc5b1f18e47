"""The SHREC rules against an independent, dense implementation: the whole mask dilated, the whole frame made."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from training.evaluation.random_scenes import EDGE, SLICES, Scene, run, scenes

from picker_training.evaluation import shrec

CROSS = ndimage.generate_binary_structure(3, 1)


def look_up(volume: np.ndarray, place: np.ndarray) -> int:
    inside = all(0 <= i < n for i, n in zip(place, volume.shape, strict=True))
    return int(volume[tuple(place)]) if inside else -1


def tables(numbers: list[int], names: list[str], truth_names: tuple[str, ...], kept: list[int]) -> dict[str, Any]:
    """What follows from the particle number at each pick: counts, the class of each truth, first hits."""
    first: dict[int, int] = {}
    times: dict[int, int] = {}
    for pick, number in enumerate(numbers):
        if number in kept:
            first.setdefault(number, pick)
            times[number] = times.get(number, 0) + 1
    return {
        "tp": len(first),
        "fp": sum(number == 0 for number in numbers),
        "fn": len(kept) - len(first),
        "mh": sum(n > 1 for n in times.values()),
        "first": first,
        "classes": [(truth_names[n - 1], names[first[n]] if n in first else "background") for n in kept],
    }


def one_vs_rest(pairs: list[tuple[str, str]], name: str) -> float | None:
    tp = sum(t == p == name for t, p in pairs)
    fp = sum(p == name != t for t, p in pairs)
    fn = sum(t == name != p for t, p in pairs)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None


def compare(found: shrec.ShrecScore, expected: dict[str, Any]) -> None:
    assert {key: getattr(found, key) for key in ("tp", "fp", "fn", "mh")} == {
        key: expected[key] for key in ("tp", "fp", "fn", "mh")
    }
    for name, f1 in found.class_f1.items():
        assert f1 == (None if (value := one_vs_rest(expected["classes"], name)) is None else pytest.approx(value))


def average(places: list[np.ndarray], centres: list[np.ndarray]) -> float | None:
    lengths = [float(np.sqrt(((a - b) ** 2).sum())) for a, b in zip(places, centres, strict=True)]
    return sum(lengths) / len(lengths) if lengths else None


@given(scenes(), st.booleans())
@settings(max_examples=40)
def test_2020_and_its_copy(scene: Scene, framed: bool) -> None:
    mask, truth, picks = scene
    dilated = ndimage.grey_dilation(mask, footprint=CROSS, mode="constant", cval=0)
    volume = np.pad(dilated, ((156, 156), (0, 0), (0, 0))) if framed else dilated
    moved = [np.array([round(z) + 156 * framed, round(y), round(x)]) for _, z, y, x in picks]
    places = [np.clip(place, 0, np.array(volume.shape) - 1) for place in moved]
    numbers = [look_up(volume, place) for place in places]
    expected = tables(numbers, [pick[0] for pick in picks], truth.names, list(range(1, len(truth) + 1)))
    found = run(shrec.score_2020 if framed else shrec.score_2020_copy, scene)
    compare(found, expected)
    assert found.ro == sum(bool(np.any(a != b)) for a, b in zip(moved, places, strict=True))
    assert found.precision == (pytest.approx(expected["tp"] / len(picks)) if picks else 0)
    ends = [places[pick] - (156 * framed, 0, 0) for pick in expected["first"].values()]
    assert found.ad == pytest.approx(average(ends, [truth.positions[n - 1] for n in expected["first"]]))


@given(scenes(), st.integers(0, 3), st.booleans())
@settings(max_examples=40)
def test_2019(scene: Scene, padding: int, in_tomogram: bool) -> None:
    mask, truth, picks = scene
    shift = np.array([156 * in_tomogram, 0, 0]) + padding
    mine = [(name, z + 156 * in_tomogram, y, x) for name, z, y, x in picks]
    places = [
        np.clip(np.array([round(z), round(y), round(x)]) - shift, 0, np.array(mask.shape) - 1) for _, z, y, x in mine
    ]
    numbers = [look_up(mask, place) for place in places]
    expected = tables(numbers, [pick[0] for pick in picks], truth.names, list(range(1, len(truth) + 1)))
    expected["fp"] = sum(n == 0 or pick[0] == "0" for n, pick in zip(numbers, picks, strict=True))
    labels = ["background"] * len(truth)
    for number, pick in zip(numbers, picks, strict=True):
        if number and labels[number - 1] == "background" and pick[0] != "0":
            labels[number - 1] = "?" if pick[0] in ("what", "4v94") else pick[0]  # unknown, but the first
    expected["classes"] = list(zip(truth.names, labels, strict=True))
    options = {"z_frame": "tomogram" if in_tomogram else "slab", "padding": padding}
    found = run(shrec.score_2019, (mask, truth, mine), **options)
    compare(found, expected)
    hits = [(place, truth.positions[n - 1]) for place, n in zip(places, numbers, strict=True) if n]
    assert found.ad == pytest.approx(average([a for a, _ in hits], [b for _, b in hits]))


@given(scenes())
@settings(max_examples=40)
def test_2021(scene: Scene) -> None:
    small, truth, picks = scene
    mask = np.zeros((SLICES + 6, EDGE + 6, EDGE + 6), np.int32)  # no pick lies beyond
    mask[:SLICES, :EDGE, :EDGE] = small
    dilated = ndimage.grey_dilation(mask, footprint=CROSS, mode="constant", cval=0)
    places = [np.clip([round(z), round(y), round(x)], 0, 511) for _, z, y, x in picks]
    numbers = [look_up(dilated, place) for place in places]
    names = [pick[0] if pick[0] == "fiducial" else pick[0].upper() for pick in picks]
    upper = tuple(name if name in ("fiducial", "vesicle") else name.upper() for name in truth.names)
    kept = [n for n, name in enumerate(upper, start=1) if name not in ("4V94", "vesicle")]
    expected = tables(numbers, names, upper, kept)
    found = run(shrec.score_2021, (mask, truth, picks))
    compare(found, expected)
    everything = len(truth) - upper.count("4V94")
    assert (found.picks, found.truths, found.recall) == (len(picks), everything, found.tp / everything)
    clean = run(shrec.score_2021_clean, (mask, truth, picks))
    compare(clean, expected)
    on_excluded = sum(n > 0 and n not in kept for n in numbers)
    assert (clean.picks, clean.truths) == (len(picks) - on_excluded, len(kept))


@given(scenes())
@settings(max_examples=40)
def test_paper(scene: Scene) -> None:
    mask, truth, picks = scene
    dilated = ndimage.grey_dilation(mask, footprint=CROSS, mode="constant", cval=0)
    landed = [(pick[0], look_up(dilated, np.array([round(v) for v in pick[1:]]))) for pick in picks]
    landed = [(name, number) for name, number in landed if number >= 0]
    hit = {number for _, number in landed if number}
    fp = sum(number == 0 for _, number in landed)
    found = run(shrec.score_paper, scene)
    assert (found.tp, found.fp, found.fn) == (len(hit), fp, len(truth) - len(hit))
    assert found.precision == (pytest.approx(len(hit) / (len(hit) + fp)) if landed else 0)
    for name, f1 in found.class_f1.items():
        own = {n for n, other in enumerate(truth.names, start=1) if other == name}
        right = {n for label, n in landed if label == name and n in own}
        wrong = sum(label == name and n not in own for label, n in landed)
        total = len(right) + wrong + len(own)
        assert f1 == (pytest.approx(2 * len(right) / total) if total else None)
