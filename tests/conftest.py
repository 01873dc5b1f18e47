"""Fixtures that several folders of tests share; no example of a property is judged by the time it takes."""

from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def golden_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds gaussian blobs exactly, to a fraction of a voxel, without any training."""
    return golden_bundle(tmp_path_factory.mktemp("models") / "golden", stride=1, tile=(48, 48, 48))
