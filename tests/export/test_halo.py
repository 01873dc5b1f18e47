from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.blob_graph import golden_bundle, scattered, volume_with_blobs
from golden.rows import Row, detections
from torch import nn

from picker_export import halo
from picker_export.batch_norm import reestimate_batch_norm
from picker_export.halo import HALOS, agreement, measure_halo
from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.engines import open_engine
from picker_training.calibration import candidates_of
from picker_training.datasets.annotated import AnnotatedVolume
from picker_training.loading import Batch

EMPTY = AnnotatedVolume(
    volume=np.zeros((16, 16, 16), np.float32), voxel_size=10.0, positions=np.zeros((0, 3)),
    class_ids=np.zeros(0, np.int32),
)  # fmt: skip


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
    shape = (32, 48, 48)
    positions = scattered(shape, count=12, apart=11, margin=3, seed=1)
    volume = volume_with_blobs(shape, positions, seed=1)
    card = replace(Bundle.open(model).card, tile=(32, 32, 32))  # cores of 16 voxels and a halo of 8
    scene = AnnotatedVolume(
        volume=volume, voxel_size=10.0, positions=positions, class_ids=np.zeros(len(positions), np.int32)
    )
    monkeypatch.setattr(halo, "ENOUGH_PICKS", len(positions))
    with open_engine("onnxruntime", model / "model.onnx", threads=1) as engine:
        assert len(candidates_of(engine, card, scene, halo=8)) >= len(positions)
        chosen, curve, _ = measure_halo(engine, card, [scene])
    assert chosen == 8
    assert list(curve) == [str(halo) for halo in HALOS]
    assert curve["0"] < 0.995 <= curve["8"] == curve["16"] == curve["24"] == 1.0


def test_a_halo_that_never_suffices_is_the_largest(golden_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picks = iter([detections([(1, 1, 1, 0.9, 0)])] + [Detections.empty()] * len(HALOS))
    monkeypatch.setattr(halo, "candidates_of", lambda *_, **__: next(picks))
    chosen, curve, _ = measure_halo(None, Bundle.open(golden_model).card, [EMPTY])  # type: ignore[arg-type]
    assert chosen == max(HALOS)
    assert set(curve.values()) == {0.0}


@pytest.mark.parametrize(("counts", "wanted"), [((0, 0), 16), ((150, 49), 16), ((150, 50), 0)])
def test_a_halo_that_few_picks_agree_on_is_no_smaller_than_a_safe_one(
    counts: tuple[int, ...], wanted: int, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = (detections([(50.0 * i, 1, 1, 0.9, 0) for i in range(n)]) for n in counts for _ in range(1 + len(HALOS)))
    monkeypatch.setattr(halo, "candidates_of", lambda *_, **__: next(found))
    chosen, curve, compared = measure_halo(None, Bundle.open(golden_model).card, [EMPTY] * 2)  # type: ignore[arg-type]
    assert (chosen, compared) == (wanted, sum(counts))
    assert curve["0"] == 1.0


def test_batch_norm_gets_the_plain_average_over_the_batches() -> None:
    network = nn.Sequential(nn.BatchNorm3d(1, momentum=0.5))
    rng = np.random.default_rng(0)
    cubes = [torch.from_numpy(rng.normal(3.0 * i, 1.0 + i, (2, 1, 4, 4, 4))).float() for i in range(3)]
    reestimate_batch_norm(network, (Batch(c, [], []) for c in cubes))
    state = network.state_dict()
    assert float(state["0.running_mean"]) == pytest.approx(np.mean([c.mean() for c in cubes]), rel=1e-5)
    assert float(state["0.running_var"]) == pytest.approx(np.mean([c.var() for c in cubes]), rel=1e-5)
    assert not network.training
