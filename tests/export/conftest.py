"""Fixtures of the export tests: one thread, since the arrays are tiny; and a tiny graph, since exporting takes long."""

import onnx
import pytest
from export.tiny_detectors import tiny_detector
from one_thread import one_thread as one_thread

from picker_export.onnx_export import export_graph


@pytest.fixture(scope="session")
def tiny_graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The tiny detector as exported; copy it before you change it."""
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    export_graph(tiny_detector(), path)
    return onnx.load(path)
