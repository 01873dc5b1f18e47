"""From the labels of voxels to picks: components, their class, place, score and size, and what is chosen."""

from pathlib import Path

import numpy as np
import pytest
import torch
from golden.blob_graph import scattered

from picker_runtime.mrc import write_mrc
from picker_training.baselines import unet_picking
from picker_training.baselines.unet_picking import (
    ComponentLimits,
    LabelMap,
    choose_settings,
    components,
    label_file,
)
from picker_training.detectors.options import UNetOptions
from picker_training.detectors.unet import UNetDetector, ball_labels

SHAPE = (12, 16, 20)
RADII = (1.0, 2.0)
DIAMETERS = (20.0, 40.0)


def label_map(shape: tuple[int, int, int] = SHAPE) -> LabelMap:
    return LabelMap(
        particle=np.zeros(shape, np.float16), class_ids=np.zeros(shape, np.uint8), share=np.zeros(shape, np.float16)
    )


def put(labels: LabelMap, voxels: list[tuple[int, int, int]], class_id: int, particle: float, share: float) -> None:
    for voxel in voxels:
        labels.particle[voxel], labels.class_ids[voxel], labels.share[voxel] = particle, class_id, share


def find(labels: LabelMap, **limits: float) -> list[tuple[tuple[float, ...], int, float]]:
    found = components(labels, ComponentLimits(**{"foreground": 0.5, "fraction": 0.0} | limits), RADII, DIAMETERS)
    return [
        (tuple(p), int(c), float(s))
        for p, c, s in zip(found.positions.round(6).tolist(), found.class_ids, found.scores, strict=True)
    ]


def test_place_class_and_score_of_a_component_by_hand() -> None:
    """Weights 1 and 0.5625 at x = 4 and 5; class 1 has 1.0 + 0.25 of the votes of two voxels."""
    labels = label_map()
    put(labels, [(3, 2, 4)], 1, 1.0, 1.0)
    put(labels, [(3, 2, 5)], 1, 0.5625, 0.25)
    (one,) = find(labels)
    assert one == ((3.0, 2.0, pytest.approx(4 + 0.5625 / 1.5625, abs=1e-5)), 1, 0.625)


def test_the_class_is_the_one_with_most_probability_not_most_voxels() -> None:
    labels = label_map()
    put(labels, [(3, 2, 4), (3, 2, 5)], 0, 0.75, 0.25)
    put(labels, [(3, 2, 6)], 1, 1.0, 1.0)
    (one,) = find(labels)
    assert one[1:] == (1, pytest.approx(1 / 3))


def test_voxels_that_touch_by_a_corner_are_one_particle_and_a_gap_parts_two() -> None:
    labels = label_map()
    put(labels, [(3, 2, 4), (4, 3, 5), (4, 3, 7)], 0, 1.0, 0.875)
    assert [place for place, *_ in find(labels)] == [(3.5, 2.5, 4.5), (4.0, 3.0, 7.0)]


def test_components_too_small_for_their_class_are_left_out() -> None:
    """A ball of radius 2 has 33.5 voxels, one of radius 1 has 4.2: three are 9 % of one, 72 % of the other."""
    labels = label_map()
    put(labels, [(3, 2, 4), (3, 2, 5), (3, 2, 6)], 1, 1.0, 0.75)
    put(labels, [(8, 2, 4), (8, 2, 5), (8, 2, 6)], 0, 1.0, 0.75)
    assert [class_id for _, class_id, _ in find(labels, fraction=0.08)] == [1, 0]
    assert [class_id for _, class_id, _ in find(labels, fraction=0.5)] == [0]
    assert find(labels, fraction=0.8) == []


def test_the_foreground_limit_counts() -> None:
    labels = label_map()
    put(labels, [(3, 2, 4)], 0, 0.625, 0.5)
    assert len(find(labels, foreground=0.5)) == 1
    assert find(labels, foreground=0.7) == []


def test_settings_are_those_that_tell_particles_from_specks() -> None:
    """Every particle is a full ball; specks of 4 voxels score as high: only the size parts them."""
    shape = (32, 40, 40)
    places = scattered(shape, count=12, apart=8, margin=4, seed=0)
    classes = np.arange(12) % 2
    radii, diameters = (2.5, 3.0), np.array([60.0, 60.0])
    where = ball_labels(torch.from_numpy(places), torch.from_numpy(classes), torch.tensor(radii), shape).numpy()
    labels = label_map(shape)
    labels.particle[where > 0] = labels.share[where > 0] = 0.875
    labels.class_ids[where > 0] = (where[where > 0] - 1).astype(np.uint8)
    specks = [tuple(v) for v in np.argwhere(where == 0)[::53].tolist() if not where[_around(v)].any()][:15]
    for z, y, x in specks:
        put(labels, [(z, y, x)], 0, 0.875, 0.875)
    chosen = choose_settings(labels, places, classes, radii, diameters, 10.0)
    found = components(labels, chosen.limits, radii, diameters.tolist())
    kept = found.select(found.scores >= np.array(chosen.thresholds)[found.class_ids])
    assert len(specks) > 5
    assert len(kept) == 12
    assert sorted(kept.class_ids.tolist()) == sorted(classes.tolist())
    assert components(labels, ComponentLimits(fraction=0.0), radii, diameters.tolist()).scores.size > 12


def _around(voxel: list[int]) -> tuple[slice, ...]:
    return tuple(slice(max(v - 2, 0), v + 3) for v in voxel)


def test_tiles_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two levels see 9 voxels far; with a halo of 16 no seam shows, whatever the tiles."""
    torch.manual_seed(3)
    network = UNetDetector(2, UNetOptions(widths=(2, 4))).eval()
    with torch.no_grad():
        network.head.weight *= 40.0  # so that voxels differ
        network.head.bias.zero_()
    volume = np.random.default_rng(0).normal(size=(24, 64, 56)).astype(np.float32)
    write_mrc(tmp_path / "one.mrc", volume, 10.0)
    monkeypatch.setattr(unet_picking, "HALO", 16)
    whole = label_file(network, tmp_path / "one.mrc", margin=8)
    monkeypatch.setattr(unet_picking, "TILE_VOXELS", 48 * 56 * 56)
    tiled = label_file(network, tmp_path / "one.mrc", margin=8)
    assert float(whole.particle.astype(float).std()) > 0.03
    np.testing.assert_allclose(tiled.particle, whole.particle, atol=2e-3)
    np.testing.assert_allclose(tiled.share, whole.share, atol=2e-3)
    assert (tiled.class_ids == whole.class_ids).mean() > 0.999
    ending_at_faces = label_file(network, tmp_path / "one.mrc", margin=0)
    apart = np.abs(ending_at_faces.particle.astype(float) - whole.particle) > 2e-3
    assert apart[0].any() and not apart[12:13, 12:-12, 12:-12].any()  # 9 voxels and more from the faces
