"""Fixtures of the benchmark's tests: the scenes of the tiny protocol, simulated once, and entries that suit them."""

from pathlib import Path

import pytest
import torch
from training.benchmarking.tiny_protocol import TINY, tiny_config

from picker_training.benchmarking import entries, learned, protocol
from picker_training.benchmarking.method import Work
from picker_training.benchmarking.scenes import prepare_scenes

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "base_config", tiny_config)
    monkeypatch.setattr(entries, "with_size", lambda options, size: options)
    monkeypatch.setattr(learned, "TRIAL_STEPS", 3)
    monkeypatch.setattr(learned, "FIRST_TRUE_STEP", 2)
    monkeypatch.setitem(protocol.PROTOCOLS, "tiny", TINY)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, phantom_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("data")
    prepare_scenes(TINY, folder, phantom_folder, CPU)
    return folder


@pytest.fixture
def work(tmp_path: Path, data: Path, phantom_folder: Path) -> Work:
    scenes = prepare_scenes(TINY, data, phantom_folder, CPU)
    return Work(scenes=scenes, folder=tmp_path / "run", device=CPU, seed=1, minutes=1.0, report=lambda line: None)
