from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.blob_graph import golden_bundle, scattered, volume_with_blobs
from torch import nn

from picker_export import calibration
from picker_export.calibration import (
    HALOS,
    THRESHOLD_GRID,
    CalibrationScene,
    JudgedPicks,
    agreement,
    candidates_of,
    choose_thresholds,
    judge,
    measure_halo,
    reestimate_batch_norm,
    with_calibration,
)
from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.engines import open_engine
from picker_training.loading import Batch

Row = tuple[float, float, float, float, int]


def detections(rows: list[Row]) -> Detections:
    """Return picks from rows of z, y, x, score and class."""
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Detections(
        positions=table[:, :3], diameters=np.full(len(table), 50.0), scores=table[:, 3],
        class_ids=table[:, 4].astype(np.int32),
    )  # fmt: skip


def judged(rows: list[tuple[float, int, bool, bool]], truths: list[int]) -> JudgedPicks:
    """Return a judged scene from rows of score, class, hit and right."""
    scores, class_ids, hit, right = zip(*rows, strict=True)
    return JudgedPicks(
        scores=np.array(scores), class_ids=np.array(class_ids, np.int32), hit=np.array(hit), right=np.array(right),
        truths=np.array(truths),
    )  # fmt: skip


def f1(tp: float, picks: float, truths: float) -> float:
    return 2 * tp / max(picks + truths, 1)


def objective(scene: JudgedPicks, thresholds: np.ndarray) -> float:
    """Return localisation F1 plus mean class F1 at given thresholds, counted one by one."""
    kept = scene.scores >= thresholds[scene.class_ids]
    classes = [
        f1(scene.right[kept & (scene.class_ids == c)].sum(), (kept & (scene.class_ids == c)).sum(), n)
        for c, n in enumerate(scene.truths)
    ]
    return f1(scene.hit[kept].sum(), kept.sum(), scene.truths.sum()) + float(np.mean(classes))


def test_thresholds_cut_off_what_is_wrong() -> None:
    sure = [(0.7 + 0.02 * i, 0, True, True) for i in range(8)]
    false = [(0.30 + 0.02 * i, 0, False, False) for i in range(8)]
    timid = [(0.10 + 0.05 * i, 1, True, True) for i in range(8)]
    thresholds = choose_thresholds([judged(sure + false + timid, [8, 8])], 2)
    assert 0.44 < thresholds[0] <= 0.7
    assert thresholds[1] <= 0.1


def test_picks_in_the_right_place_but_of_the_wrong_class_are_weighed() -> None:
    """Keeping the second half would raise the localisation F1 from 0.67 to 0.70, but lower the class F1 by a third."""
    right = [(0.7, 0, True, True)] * 10
    confused = [(0.3, 0, number < 4, False) for number in range(10)]
    assert choose_thresholds([judged(right + confused, [10, 10])], 2)[0] > 0.3


def test_thresholds_are_the_best_there_are() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (float(score), int(class_id), bool(hit), bool(hit and rng.random() < score**2))  # unsure of the class above all
        for score, class_id, hit in zip(
            rng.uniform(0.05, 0.95, 60), rng.integers(0, 2, 60), rng.random(60) < 0.8, strict=True
        )
    ]
    scene = judged(rows, [25, 15])
    found = objective(scene, choose_thresholds([scene], 2))
    best = max(objective(scene, np.array(pair)) for pair in product(THRESHOLD_GRID[::2], repeat=2))
    assert found >= best - 1e-9


def test_every_scene_counts() -> None:
    one = judged([(0.5, 0, True, True), (0.4, 0, False, False)] * 5, [5])
    other = judged([(0.3, 0, True, True), (0.2, 0, False, False)] * 5, [5])
    assert 0.4 < choose_thresholds([one], 1)[0] <= 0.5
    assert 0.2 < choose_thresholds([other], 1)[0] <= 0.3
    assert 0.2 < choose_thresholds([one, other, other], 1)[0] <= 0.3


def test_a_scene_without_picks_keeps_a_threshold_of_the_grid() -> None:
    empty = JudgedPicks(
        scores=np.zeros(0), class_ids=np.zeros(0, np.int32), hit=np.zeros(0, bool), right=np.zeros(0, bool),
        truths=np.array([3, 0]),
    )  # fmt: skip
    assert set(choose_thresholds([empty], 2)) <= set(THRESHOLD_GRID)


def test_picks_are_judged_by_place_then_class(golden_model: Path) -> None:
    card = Bundle.open(golden_model).card  # classes of 50 and 80 A, thresholds 0.2, floor 0.05
    scene = CalibrationScene(
        volume=np.zeros((1, 1, 1), np.float32), voxel_size=10.0,
        positions=np.array([[10.0, 10, 10], [10, 10, 30], [30, 10, 10]]), class_ids=np.array([0, 1, 1], np.int32),
    )  # fmt: skip
    found = detections([(10, 10, 11, 0.9, 0), (10, 10, 30, 0.8, 0), (30, 30, 30, 0.7, 1), (10, 13, 30, 0.04, 1)])
    result = judge(found, card, scene)
    assert result.scores.tolist() == [0.9, 0.8, 0.7]  # the fourth lies below the floor
    assert result.hit.tolist() == [True, True, False]
    assert result.right.tolist() == [True, False, False]
    assert result.truths.tolist() == [1, 2]


def test_a_scene_without_particles_has_only_false_picks(golden_model: Path) -> None:
    scene = CalibrationScene(
        volume=np.zeros((1, 1, 1), np.float32), voxel_size=10.0, positions=np.zeros((0, 3)),
        class_ids=np.zeros(0, np.int32),
    )  # fmt: skip
    result = judge(detections([(1, 1, 1, 0.9, 0)]), Bundle.open(golden_model).card, scene)
    assert not result.hit.any()
    assert not result.right.any()
    assert result.truths.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ([], [], 1.0),
        ([(1, 1, 1, 0.9, 0)], [], 0.0),
        ([(1, 1, 1, 0.9, 0)], [(1, 1, 1.4, 0.5, 0)], 1.0),
        ([(1, 1, 1, 0.9, 0)], [(1, 1, 1.6, 0.9, 0)], 0.0),
        ([(1, 1, 1, 0.9, 0)], [(1, 1, 1, 0.9, 1)], 0.0),
        ([(1, 1, 1, 0.9, 0), (9, 9, 9, 0.9, 0)], [(1, 1, 1, 0.9, 0)], 2 / 3),
    ],
)
def test_agreement_is_the_share_of_picks_with_a_partner(a: list[Row], b: list[Row], share: float) -> None:
    assert agreement(detections(a), detections(b)) == pytest.approx(share)
    assert agreement(detections(b), detections(a)) == pytest.approx(share)


def test_the_halo_is_the_smallest_that_covers_the_field_of_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The golden graph sees a few voxels: without a halo its peaks at the seams differ, with one they do not."""
    model = golden_bundle(tmp_path / "golden", stride=1, max_candidates=512)  # the reflected halo is full of particles
    monkeypatch.setattr(calibration, "tile_for", lambda halo: (16 + 2 * halo,) * 3)
    shape = (32, 48, 48)
    positions = scattered(shape, count=12, apart=11, margin=3, seed=1)
    volume = volume_with_blobs(shape, positions, seed=1)
    card = Bundle.open(model).card
    scene = CalibrationScene(
        volume=volume, voxel_size=10.0, positions=positions, class_ids=np.zeros(len(positions), np.int32)
    )
    with open_engine("onnxruntime", model / "model.onnx", threads=1) as engine:
        assert len(candidates_of(engine, card, scene, halo=8)) >= len(positions)
        halo, curve = measure_halo(engine, card, [scene], np.array([0.2, 0.2]))
    assert halo == 8
    assert list(curve) == [str(halo) for halo in HALOS]
    assert curve["0"] < 0.995 <= curve["8"] == curve["16"] == curve["24"] == 1.0


def test_a_halo_that_never_suffices_is_the_largest(golden_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picks = iter([detections([(1, 1, 1, 0.9, 0)])] + [Detections.empty()] * len(HALOS))
    monkeypatch.setattr(calibration, "candidates_of", lambda *_, **__: next(picks))
    scene = CalibrationScene(
        volume=np.zeros((16, 16, 16), np.float32), voxel_size=10.0, positions=np.zeros((0, 3)),
        class_ids=np.zeros(0, np.int32),
    )  # fmt: skip
    halo, curve = measure_halo(None, Bundle.open(golden_model).card, [scene], np.array([0.2, 0.2]))  # type: ignore[arg-type]
    assert halo == max(HALOS)
    assert set(curve.values()) == {0.0}


def test_the_card_gets_what_was_measured(golden_model: Path) -> None:
    card = replace(Bundle.open(golden_model).card, alignment=4)
    calibrated = with_calibration(card, np.array([0.31, 0.62]), 16, {"16": 0.999})
    assert [particle.threshold for particle in calibrated.classes] == [0.31, 0.62]
    assert (calibrated.halo, calibrated.halo_curve) == (16, {"16": 0.999})
    assert all(edge > 2 * 16 for edge in calibrated.tile)


def test_batch_norm_gets_the_plain_average_over_the_batches() -> None:
    network = nn.Sequential(nn.BatchNorm3d(1, momentum=0.5))
    rng = np.random.default_rng(0)
    cubes = [torch.from_numpy(rng.normal(3.0 * i, 1.0 + i, (2, 1, 4, 4, 4))).float() for i in range(3)]
    reestimate_batch_norm(network, (Batch(c, [], []) for c in cubes))
    state = network.state_dict()
    assert float(state["0.running_mean"]) == pytest.approx(np.mean([c.mean() for c in cubes]), rel=1e-5)
    assert float(state["0.running_var"]) == pytest.approx(np.mean([c.var() for c in cubes]), rel=1e-5)
    assert not network.training
