"""Fixtures of the training tests: phantoms as templates, and one thread, since the arrays are tiny."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training.phantoms import CLASSES, write_phantoms

from picker_training.simulator.templates import Template, load_templates


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="session")
def phantoms(phantom_folder: Path) -> list[Template]:
    return load_templates(phantom_folder, CLASSES)
