"""Fixtures of the training tests: phantoms as templates, and one thread, since the arrays are tiny."""

from pathlib import Path

import numpy as np
import pytest
from one_thread import one_thread as one_thread
from training.phantoms import CLASSES, SMALL, write_phantoms

from picker_training.datasets import scenes
from picker_training.datasets.scenes import StoredScene
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import Template, load_templates


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="session")
def phantoms(phantom_folder: Path) -> list[Template]:
    return load_templates(phantom_folder, CLASSES)


@pytest.fixture(scope="session")
def stored_scene(tmp_path_factory: pytest.TempPathFactory, phantoms: list[Template]) -> StoredScene:
    path = tmp_path_factory.mktemp("pool") / "scene"
    scenes.store_scene(simulate(SMALL, phantoms, 1), path, np.random.default_rng(0))
    return scenes.load_scene(path)
