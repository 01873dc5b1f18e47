"""Fixtures of the export tests: one thread, since the arrays are tiny; and a tiny graph, since exporting takes long."""

from collections.abc import Iterator

import onnx
import pytest
import torch
from export.tiny_detectors import tiny_detector

from picker_export.onnx_export import export_graph


@pytest.fixture(scope="session")
def tiny_graph(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The tiny detector as exported; copy it before you change it."""
    path = tmp_path_factory.mktemp("tiny") / "model.onnx"
    export_graph(tiny_detector(), path)
    return onnx.load(path)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
