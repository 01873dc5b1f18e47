from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from training.phantoms import SHARP, hook

from picker_training.baselines import template_matching
from picker_training.baselines.correlation import Mixtures
from picker_training.baselines.half_turns import half_turns, turned
from picker_training.baselines.rotations import angles_between, even_rotations
from picker_training.baselines.template_matching import Matching, match_template, match_templates
from picker_training.device import has_bfloat16
from picker_training.simulator.scene import SceneSpec, simulate
from picker_training.simulator.templates import Template

CPU = torch.device("cpu")
MATCHING = Matching(microscope=SHARP, rotations=24, energy=0.98)


def test_a_particle_is_found_at_its_place_and_angle() -> None:
    spec = SceneSpec(shape=(28, 32, 32), particles=1, microscope=SHARP)
    scene = simulate(spec, [hook()], 2)
    matching = Matching(microscope=SHARP, rotations=500)
    tomogram = Mixtures.single(torch.from_numpy(scene.tomogram(0.3)))
    (peaks,) = match_template(tomogram, hook(), 10.0, matching, device=CPU)
    assert np.linalg.norm(peaks.positions[0] - scene.placements.positions[0]) < 1.2
    orientations = turned(matching.orientations(), half_turns(SHARP))
    off = angles_between(scene.placements.rotations, orientations)[0]
    assert off[peaks.orientations[0]] < 28.0  # the nearest of 500 may be 27 degrees off
    assert (off < 28.0).sum() < 10


@pytest.fixture(scope="module")
def tomograms(phantoms: list[Template]) -> Mixtures:
    scene = simulate(SceneSpec(shape=(24, 32, 32), particles=3, microscope=SHARP), phantoms, 3)
    return Mixtures(parts=torch.stack([scene.signal, scene.noise]), weights=torch.tensor([[1.0, 0.1], [1.0, 0.3]]))


def same(one: list, other: list) -> bool:  # type: ignore[type-arg]
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(chain(*one), chain(*other), strict=True)
        for name in ("positions", "heights", "values", "orientations")
    )


def test_a_class_that_is_done_is_not_matched_again(
    tomograms: Mixtures, phantoms: list[Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int, int]] = []
    two = phantoms[:2]
    first = match_templates(
        tomograms, two, 10.0, MATCHING, folder=tmp_path, device=CPU, progress=lambda *step: steps.append(step)
    )
    assert steps == [("3gl1", 1, 1), ("3h84", 1, 1)]
    assert [len(of_one) for of_one in first] == [2, 2]
    (tmp_path / "3h84.npz").unlink()
    steps.clear()
    again = match_templates(
        tomograms, two, 10.0, MATCHING, folder=tmp_path, device=CPU, progress=lambda *step: steps.append(step)
    )
    assert steps == [("3h84", 1, 1)]
    assert same(first, again)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3gl1.npz", "3h84.npz"]


@pytest.mark.parametrize(
    "change", ["tomogram", "noise", "template", "rotations", "spiral", "optics", "voxel size", "damage"]
)
def test_peaks_of_another_search_or_damaged_are_not_taken(
    change: str, tomograms: Mixtures, phantoms: list[Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"tomograms": tomograms, "templates": phantoms[:1], "voxel_size": 10.0, "matching": MATCHING}
    match_templates(**arguments, folder=tmp_path, device=CPU)  # type: ignore[arg-type]
    other = {
        "tomogram": {"tomograms": replace(tomograms, parts=tomograms.parts + 0.5)},
        "noise": {"tomograms": replace(tomograms, weights=2 * tomograms.weights)},
        "template": {"templates": [replace(phantoms[0], density=2 * phantoms[0].density)]},
        "rotations": {"matching": replace(MATCHING, rotations=25)},
        "optics": {"matching": replace(MATCHING, microscope=replace(SHARP, defocus_um=2.5))},
        "voxel size": {"voxel_size": 10.1},
    }
    if change == "damage":
        path = tmp_path / "3gl1.npz"
        path.write_bytes(path.read_bytes()[:-200])
    calls = []
    original = template_matching.match_template
    monkeypatch.setattr(template_matching, "match_template", lambda *a, **k: calls.append(1) or original(*a, **k))
    match_templates(**arguments, folder=tmp_path / "fresh", device=CPU)  # type: ignore[arg-type]
    assert len(calls) == 1
    if change == "spiral":
        monkeypatch.setattr(template_matching, "even_rotations", lambda count: even_rotations(count + 1)[:count])
    match_templates(**{**arguments, **other.get(change, {})}, folder=tmp_path, device=CPU)  # type: ignore[arg-type]
    assert len(calls) == 2
    match_templates(**{**arguments, **other.get(change, {})}, folder=tmp_path, device=CPU)  # type: ignore[arg-type]
    assert len(calls) == 2


def test_half_precision_finds_the_same_peaks(tomograms: Mixtures, phantoms: list[Template]) -> None:
    exact = match_template(tomograms, phantoms[1], 10.0, MATCHING, device=CPU)
    rough = match_template(tomograms, phantoms[1], 10.0, replace(MATCHING, half_precision=True), device=CPU)
    for a, b in zip(exact, rough, strict=True):
        assert a.positions[0].tolist() == b.positions[0].tolist()
        assert a.values[0] == pytest.approx(b.values[0], abs=1e-6)
        assert a.orientations[0] == b.orientations[0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU that PyTorch sees")
def test_a_gpu_finds_what_the_cpu_finds(tomograms: Mixtures, phantoms: list[Template]) -> None:
    assert has_bfloat16(torch.device("cuda"))
    here = match_template(tomograms, phantoms[1], 10.0, MATCHING, device=CPU)
    there = match_template(tomograms, phantoms[1], 10.0, MATCHING, device=torch.device("cuda"))
    for a, b in zip(here, there, strict=True):
        assert a.positions[:5].tolist() == b.positions[:5].tolist()
        assert a.heights[:5] == pytest.approx(b.heights[:5], rel=1e-3)
