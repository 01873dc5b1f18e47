"""A folder of tomograms with balls, made once, and an empty folder for picks files of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from training.labelled import Labelled, labelled


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return labelled(tmp_path_factory.mktemp("lint"))


@pytest.fixture
def data(folder: Labelled, tmp_path: Path) -> Labelled:
    return replace(folder, picks=tmp_path)
