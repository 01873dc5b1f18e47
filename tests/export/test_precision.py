"""Graphs of less precision come beside the float32 one, and only if they pick as well."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from export.tiny_detectors import DIAMETERS_VOXELS, SLOTS, tiny_detector

from picker_export import precision as precision_module
from picker_export.judging import LARGEST_LOSS, Judgement
from picker_export.onnx_export import export_graph
from picker_export.precision import add_precisions
from picker_runtime.card import ModelCard, ParticleClass
from picker_training.datasets.annotated import AnnotatedVolume

ALL = {"model.onnx", "model.fp16.onnx", "model.int8.xml", "model.int8.bin"}
CARD = ModelCard(
    name="tiny", version="1", licence="Apache-2.0",
    classes=tuple(
        ParticleClass(name=name, diameter_angstrom=10.0 * float(d), threshold=0.5, colour="#1f77b4")
        for name, d in zip("abc", DIAMETERS_VOXELS, strict=True)
    ),
    voxel_size_angstrom=10.0, polarity="dark", output_stride=2, alignment=8, halo=8, halo_curve={}, tile=(48, 48, 48),
    max_candidates=SLOTS, candidate_floor=0.05, nms_fraction=0.5, statistics="median-mad-v1", files={},
)  # fmt: skip


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_graph(tiny_detector(), path)
    return path


@pytest.fixture
def folder(graph: Path, tmp_path: Path) -> Path:
    """A bundle's folder with the float32 graph."""
    (tmp_path / "model.onnx").write_bytes(graph.read_bytes())
    return tmp_path


def cubes() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    yield from (rng.standard_normal((1, 1, 32, 32, 32), dtype=np.float32) for _ in range(3))


@pytest.fixture
def scenes() -> list[AnnotatedVolume]:
    rng = np.random.default_rng(2)
    volume = rng.standard_normal((32, 40, 40), dtype=np.float32)
    positions = rng.uniform(4, 28, (6, 3))
    return [
        AnnotatedVolume(volume=volume, voxel_size=10.0, positions=positions, class_ids=np.arange(6, dtype=np.int32) % 3)
    ]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def judge_as(loss: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every graph lose so much class F1."""

    def judge(precision: str, *_: object) -> Judgement:
        return Judgement(
            precision=precision, f1=0.9, class_f1=0.9 - loss, float32_f1=0.9, float32_class_f1=0.9, pick_f1=0.9,
            median_shift_voxels=0.1,
        )  # fmt: skip

    monkeypatch.setattr(precision_module, "judge_precision", judge)


def test_all_are_written_and_judged_in_their_own_graph(folder: Path, scenes: list[AnnotatedVolume]) -> None:
    lines: list[str] = []
    half, low = add_precisions(folder, CARD, ("fp32", "fp16", "int8"), cubes=cubes, scenes=scenes, say=lines.append)
    assert (half.precision, low.precision) == ("fp16", "int8")
    assert half.pick_f1 > 0.9
    assert half.float32_f1 == low.float32_f1
    assert half.median_shift_voxels != low.median_shift_voxels
    assert "int8: scaled by 3 cubes" in lines


def test_one_that_picks_worse_is_left_out(
    folder: Path, scenes: list[AnnotatedVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_as(2 * LARGEST_LOSS, monkeypatch)
    lines: list[str] = []
    judgements = add_precisions(folder, CARD, ("fp16", "int8"), cubes=cubes, scenes=scenes, say=lines.append)
    assert [judgement.passed for judgement in judgements] == [False, False]
    assert names(folder) == {"model.onnx"}
    assert lines[0] == "fp16 is left out: F1 0.900 -> 0.900, class F1 0.900 -> 0.880"


def test_only_those_asked_for_are_written(
    folder: Path, scenes: list[AnnotatedVolume], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_as(0.0, monkeypatch)
    assert add_precisions(folder, CARD, ("fp32",), cubes=cubes, scenes=scenes, say=lambda line: None) == []
    assert names(folder) == {"model.onnx"}
    add_precisions(folder, CARD, ("fp16",), cubes=cubes, scenes=scenes, say=lambda line: None)
    assert names(folder) == {"model.onnx", "model.fp16.onnx"}
    add_precisions(folder, CARD, ("int8",), cubes=cubes, scenes=scenes, say=lambda line: None)
    assert names(folder) == ALL
