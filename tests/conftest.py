"""Fixtures that several folders of tests share."""

from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle


@pytest.fixture(scope="session")
def golden_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds gaussian blobs exactly, to a fraction of a voxel, without any training."""
    return golden_bundle(tmp_path_factory.mktemp("models") / "golden", stride=1, tile=(48, 48, 48))
