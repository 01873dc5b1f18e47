import argparse
import subprocess
import threading
from pathlib import Path

import pytest
import torch
from benchmark import ablations
from benchmark.ablations import (
    ABLATIONS,
    BASELINE,
    SNRS,
    Ablation,
    command_of,
    figures,
    line_of,
    read_lines,
    read_options,
    small_protocol,
    table,
)

from picker_training.benchmarking.learned import LearnedMethod
from picker_training.benchmarking.running import Result
from picker_training.benchmarking.scenes import BenchmarkScenes
from picker_training.config import DataSection, TrainingConfig, dump_config, load_config
from picker_training.loading import Batch
from picker_training.networks import build_network

CONFIG = TrainingConfig(data=DataSection(crop=32, halo=0))


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda a: a.name)
def test_each_changes_something_and_learns(ablation: Ablation, tmp_path: Path) -> None:
    config = ablation.applied(CONFIG)
    assert (config != CONFIG) == bool(ablation.changes)
    path = tmp_path / "config.toml"
    path.write_text(dump_config(config), "utf-8")
    assert load_config(path) == config
    if config.point == CONFIG.point and ablation.name != BASELINE:
        return
    network = build_network(config).train()
    network.prepare(torch.full((len(config.model.classes),), 8.0))
    batch = Batch(torch.randn(1, 1, 32, 32, 32), [torch.tensor([[15.0, 16.0, 17.0]])], [torch.tensor([3])])
    total = network.loss(network(batch.cubes), batch, halo=8).total
    assert torch.isfinite(total)
    assert float(total.detach()) > 0


def test_names_are_not_used_twice_and_the_baseline_comes_first() -> None:
    names = [a.name for a in ABLATIONS]
    assert names[0] == BASELINE
    assert len(set(names)) == len(names)
    assert len({a.describe() for a in ABLATIONS}) == len(names)


def result(f1: float, error: float | None) -> Result:
    rule = {"f1": f1, "mean_class_f1": f1 - 0.1, "centre_error_voxels": error}
    scores = {d.name: {"settings": {}, "shrec2020": rule, "distance": rule} for d in small_protocol().difficulties}
    return Result(
        protocol="small", entry="x", seed=1, minutes=15.0, threads=2, device="cpu",
        training={"seconds": 900.0, "steps": 500, "samples": 2000}, parameters=10, mac_per_voxel=1.0, timing={},
        scores=scores,
    )  # fmt: skip


def test_the_table_tells_the_distance_from_the_baseline() -> None:
    options = argparse.Namespace(steps=None, minutes=15.0, threads=None)
    other = next(a for a in ABLATIONS if a.name == "spheres")
    lines = {
        BASELINE: line_of(ABLATIONS[0], result(0.8, 0.5), options),
        other.name: line_of(other, result(0.75, None), options),
    }
    assert figures(lines[BASELINE], "SNR 0.1") == [0.8, pytest.approx(0.7), 0.5]
    assert lines[other.name]["command"].endswith("--only spheres --minutes 15")
    assert (
        "--steps 9 --threads 1" in line_of(other, result(0.1, 0.1), argparse.Namespace(steps=9, threads=1))["command"]
    )
    rows = {row.split("|")[1].strip(): row for row in table(lines).splitlines()}
    three = "{0}, {0}, {0}".format
    each = f"| 500 | {three('0.800')} | {three('0.700')} | {three('0.500')} |"
    assert f"{each} 0.800 | 0.700 | 0.500 |" in rows[BASELINE]
    each = f"| 500 | {three('0.750')} | {three('0.650')} | {three('nan')} |"
    assert f"{each} -0.050 | -0.050 | +nan |" in rows["spheres"]
    assert "| 500 |" not in rows["halo-8"]
    assert len({row.count("|") for row in rows.values()}) == 1
    assert len(rows) == len(ABLATIONS) + 2


@pytest.mark.parametrize(("name", "seed"), [(BASELINE, 5), ("spheres", 5), ("another-seed", 6)])
def test_only_another_seed_has_another_seed(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[LearnedMethod] = []
    monkeypatch.setattr(ablations, "run_entry", lambda entry, method: seen.append(method))
    options = argparse.Namespace(steps=None, minutes=15.0, output=tmp_path, seed=5, crop=None)
    ablation = next(a for a in ABLATIONS if a.name == name)
    scenes = BenchmarkScenes(protocol=small_protocol(), folder=tmp_path, diameters_angstrom={})
    ablations.run_one(ablation, scenes, options, torch.device("cpu"))
    assert (seen[0].work.seed, seen[0].config.seed) == (seed, seed)
    assert seen[0].work.folder == tmp_path / name


def test_the_protocol_is_small_s_at_three_difficulties() -> None:
    protocol = small_protocol()
    assert tuple(d.snr for d in protocol.difficulties) == SNRS
    assert protocol.spec.shape == protocol.timing_shape == (128, 256, 256)
    assert len(protocol.training_seeds) == 3


def test_what_is_done_is_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ablations.jsonl"
    assert read_lines(path) == {}
    path.write_text('{"name": "a", "n": 1}\n{"name": "b", "n": 2}\n', "utf-8")
    assert read_lines(path)["b"] == {"name": "b", "n": 2}


def test_the_command_of_one_has_all_options_of_the_whole() -> None:
    words = ["--templates", "T", "-o", "O", "--data", "D", "--steps", "9", "--seed", "4", "--threads", "1"]
    options = read_options([*words, "--only", "spheres", "--only", "halo-8", "--at-once", "2"])
    command = command_of(ABLATIONS[0], options)
    assert Path(command[1]).samefile(ablations.__file__)
    own = vars(read_options(command[2:]))
    assert own == vars(options) | {"only": [BASELINE], "at_once": 1}


def test_several_at_a_time_come_all_and_those_that_read_the_baseline_s_weights_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    together = threading.Barrier(2, timeout=60)

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        name = command[-1]
        started.append(name)
        if name in ("spheres", BASELINE):
            together.wait()
        return subprocess.CompletedProcess(command, int(name == "halo-8"))

    monkeypatch.setattr(subprocess, "run", run)
    names = ["no-average", "spheres", BASELINE, "halo-8"]
    words = [word for name in names for word in ("--only", name)]
    options = read_options(["--templates", "T", "-o", str(tmp_path), "--at-once", "2", *words])
    with pytest.raises(SystemExit, match="halo-8: not done"):
        ablations.run_apart(ablations.unfinished(options), options)
    assert sorted(started) == sorted(names)
    assert started[-1] == "no-average"


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "ablations.jsonl").write_text('{"name": "spheres"}\n', "utf-8")
    options = read_options(["--templates", "T", "-o", str(tmp_path), "--only", "spheres", "--only", "halo-8"])
    assert [a.name for a in ablations.unfinished(options)] == ["halo-8"]
    everything = read_options(["--templates", "T", "-o", str(tmp_path)])
    assert len(ablations.unfinished(everything)) == len(ABLATIONS) - 1
