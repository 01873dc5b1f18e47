import argparse
from pathlib import Path

import pytest
from benchmark.difficulty import harder, place_of, scored_again, tables

from picker_training.benchmarking.running import Result
from picker_training.benchmarking.scenes import BenchmarkScenes

SNRS = [0.1, 0.01, 0.001]


def result(f1: list[float], class_f1: list[float]) -> Result:
    rows = zip(SNRS, f1, class_f1, strict=True)
    return Result(
        protocol="small", entry="unet", seed=1, minutes=30.0, threads=2, device="cpu", training=None, parameters=None,
        mac_per_voxel=None, timing={},
        scores={f"SNR {snr:g}": {"shrec2020": {"f1": a, "mean_class_f1": b}} for snr, a, b in rows},
    )  # fmt: skip


def test_a_published_figure_lies_between_two_that_were_measured_or_beyond_all() -> None:
    assert place_of(0.85, SNRS, [0.9, 0.8, 0.2]) == "0.032"  # half way in the logarithm
    assert place_of(0.95, SNRS, [0.9, 0.8, 0.2]) == "above 0.1"
    assert place_of(0.10, SNRS, [0.9, 0.8, 0.2]) == "below 0.001"


def test_the_tables_tell_what_was_measured_and_where_the_published_figures_lie() -> None:
    text = tables({"unet": result([0.98, 0.92, 0.30], [0.80, 0.60, 0.0])}, SNRS)
    assert "| unet | localisation F1 | 0.980 | 0.920 | 0.300 |" in text
    assert "| unet | mean class F1 | 0.800 | 0.600 | 0.000 |" in text
    assert "| unet | DeepFinder | 0.924: 0.012 | 0.871: above 0.1 |" in text
    assert "| unet | Dn3DUnet | 0.869: 0.0083 | 0.653: 0.018 |" in text


def test_its_scenes_are_those_of_the_benchmark_at_other_snrs(tmp_path: Path) -> None:
    protocol = harder([0.1, 0.007])
    scenes = BenchmarkScenes(protocol=protocol, folder=tmp_path, diameters_angstrom={})
    assert [scenes.test_folder(one).name for one in protocol.difficulties] == ["snr0.1", "snr0.007"]
    assert protocol.test_seed == 6201


def test_what_is_not_trained_is_refused(tmp_path: Path) -> None:
    scenes = BenchmarkScenes(protocol=harder(SNRS), folder=tmp_path, diameters_angstrom={})
    with pytest.raises(SystemExit, match="no trained network: picker-training benchmark --detector unet"):
        scored_again("unet", scenes, tmp_path, argparse.Namespace(output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
