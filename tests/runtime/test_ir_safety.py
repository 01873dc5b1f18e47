"""Graphs for OpenVINO are refused, before OpenVINO parses them, if they are more than standard operations."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from golden.blob_graph import add_int8, golden_bundle

from picker_runtime import ir_safety
from picker_runtime.bundle import Bundle, write_card
from picker_runtime.card import ModelCard
from picker_runtime.errors import ModelError
from picker_runtime.ir_safety import check_ir


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A sound graph in a bundle."""
    return add_int8(golden_bundle(tmp_path / "golden"))


def test_a_sound_graph_is_accepted_with_its_bundle(graph: Path) -> None:
    check_ir(graph)
    bundle = Bundle.open(graph.parent)
    assert bundle.graphs == {"fp32": graph.parent / "model.onnx", "int8": graph}


def spoilt(pattern: str, replacement: str) -> Callable[[str], str]:
    def spoil(text: str) -> str:
        changed, count = re.subn(pattern, replacement, text, count=1)
        assert count == 1
        return changed

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoilt(r'version="opset\d+"', 'version="extension"'), "operation set 'extension'"),
        (spoilt(r'version="opset\d+"', ""), "operation set ''"),
        (spoilt(r"<net ", "<!DOCTYPE net [<!ENTITY a 'b'>]><net "), "a document type"),
        (spoilt(r"<net ", "<!-- <!DOCTYPE x> --><net "), "a document type"),
        (spoilt(r'size="\d+"', 'size="99999999"'), "past the"),
        (spoilt(r'offset="\d+"', 'offset="-8"'), "without a place"),
        (spoilt(r'offset="\d+"', ""), "without a place"),
        (lambda text: text[: len(text) // 2], "not an OpenVINO graph"),
        (lambda text: "<net></net>", "no layers"),
        (lambda text: text.replace("<net ", "<web ").replace("</net>", "</web>"), "no layers"),
    ],
)
def test_anything_else_is_refused(spoil: Callable[[str], str], words: str, graph: Path) -> None:
    graph.write_text(spoil(graph.read_text()))
    with pytest.raises(ModelError, match=r"E53 .*model\.int8\.xml") as caught:
        check_ir(graph)
    assert words in str(caught.value)


def test_a_text_too_long_to_parse_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ir_safety, "MAX_BYTES", 100)
    with pytest.raises(ModelError, match="at most 100 are read"):
        check_ir(graph)


def test_a_bundle_with_a_graph_that_does_more_than_compute_is_refused(graph: Path) -> None:
    graph.write_text(spoilt(r'version="opset\d+"', 'version="extension"')(graph.read_text()))
    _rehash(graph.parent)
    with pytest.raises(ModelError, match=r"E53 .*operation set"):
        Bundle.open(graph.parent)


def test_a_graph_without_its_constants_is_refused(graph: Path) -> None:
    graph.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match=r"E52 .*cannot be read"):
        check_ir(graph)
    _rehash(graph.parent)
    with pytest.raises(ModelError, match=r"E51 .*without model\.int8\.bin"):
        Bundle.open(graph.parent)


def _rehash(folder: Path) -> None:
    """Let the card name the files as they are."""
    write_card(folder, ModelCard.from_json((folder / "card.json").read_text(), subject="card"))
