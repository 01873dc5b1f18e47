"""Bundles: names and folders, hashes, and graphs that are refused before a runtime parses them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from picker_runtime import bundle as bundles
from picker_runtime import onnx_safety
from picker_runtime.bundle import Bundle, known_models, write_card
from picker_runtime.card import ModelCard, ParticleClass
from picker_runtime.errors import ModelError

CARD = ModelCard(
    name="tiny",
    version="1.0",
    licence="Apache-2.0",
    classes=(ParticleClass(name="1bxn", diameter_angstrom=130.0, threshold=0.4, colour="#1f77b4"),),
    voxel_size_angstrom=10.0,
    polarity="dark",
    output_stride=1,
    alignment=1,
    halo=2,
    halo_curve={},
    tile=(16, 16, 16),
    max_candidates=8,
    candidate_floor=0.05,
    nms_fraction=0.5,
    statistics="median-mad-v1",
    files={},
)


def tiny_model() -> onnx.ModelProto:
    """Return a model with an initializer, a constant and two branches, so that every place of a tensor is there."""
    branches = [
        helper.make_graph(
            [helper.make_node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.FLOAT, [1], [i]))],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])],
        )
        for i, name in enumerate(("then", "else"))
    ]
    nodes = [
        helper.make_node("Add", ["x", "w"], ["y"]),
        helper.make_node("If", ["c"], ["z"], then_branch=branches[0], else_branch=branches[1]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("c", 9, [])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "yz"],
        [helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def make_bundle(folder: Path, model: onnx.ModelProto | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes((model or tiny_model()).SerializeToString())
    np.savez(folder / "selftest.npz", input=np.arange(3.0), output=np.ones(2))
    (folder / "README.md").write_text("words")
    write_card(folder, CARD)
    return folder


def refuse(folder: Path, model: onnx.ModelProto) -> ModelError:
    with pytest.raises(ModelError) as caught:
        Bundle.open(make_bundle(folder / "tiny", model))
    return caught.value


def test_a_folder_opens_with_its_card_graph_and_selftest(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    bundle = Bundle.open(str(folder))
    assert bundle.graph == folder / "model.onnx"
    assert replace(bundle.card, files={}) == CARD
    assert sorted(bundle.card.files) == ["model.onnx", "selftest.npz"]
    arrays = bundle.selftest()
    assert arrays is not None
    assert {name: array.tolist() for name, array in arrays.items()} == {"input": [0, 1, 2], "output": [1, 1]}


def test_the_readme_may_change(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    (folder / "README.md").write_text("other words")
    Bundle.open(folder)


def test_without_a_selftest_there_is_none(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    (folder / "selftest.npz").unlink()
    write_card(folder, CARD)
    assert Bundle.open(folder).selftest() is None


def test_a_pickled_selftest_is_refused(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    np.savez(folder / "selftest.npz", input=np.array([{}], dtype=object))
    write_card(folder, CARD)
    with pytest.raises(ModelError, match=r"E52 tiny/selftest\.npz"):
        Bundle.open(folder).selftest()


def test_a_known_name_opens_and_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "models" / "tiny")
    (tmp_path / "models" / "no-model").mkdir()
    monkeypatch.setattr(bundles, "MODELS", tmp_path / "models")
    assert known_models() == ["tiny"]
    assert Bundle.open("tiny").folder == tmp_path / "models" / "tiny"
    with pytest.raises(ModelError, match=r"E50 tinny: no such model or folder.*\(tiny\)"):
        Bundle.open("tinny")


def test_a_path_is_a_folder_also_where_a_model_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(tmp_path / "models" / "tiny")
    make_bundle(tmp_path / "tiny")
    monkeypatch.setattr(bundles, "MODELS", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    assert Bundle.open(Path("tiny")).folder == Path("tiny")
    assert Bundle.open("tiny").folder == tmp_path / "models" / "tiny"
    assert Bundle.open("./tiny").folder == Path("tiny")


def test_a_folder_without_a_card_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"E50 .*: no folder with a card\.json"):
        Bundle.open(tmp_path)


def test_one_flipped_bit_is_damage(tmp_path: Path) -> None:
    graph = make_bundle(tmp_path / "tiny") / "model.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(ModelError, match=r"E52 tiny/model\.onnx: sha256 is"):
        Bundle.open(tmp_path / "tiny")


def test_an_absent_file_is_damage(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    (folder / "selftest.npz").unlink()
    with pytest.raises(ModelError, match=r"E52 tiny/selftest\.npz: cannot be read \(No such file"):
        Bundle.open(folder)


def test_a_card_that_names_no_graph_is_invalid(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "tiny")
    content = json.loads((folder / "card.json").read_text())
    del content["files"]["model.onnx"]
    (folder / "card.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"E51 tiny/card\.json: files does not name model\.onnx"):
        Bundle.open(folder)


@pytest.mark.parametrize("content", [b"\xff", b"{}", b""])
def test_a_damaged_card_is_invalid(tmp_path: Path, content: bytes) -> None:
    folder = make_bundle(tmp_path / "tiny")
    (folder / "card.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"E51 tiny/card\.json"):
        Bundle.open(folder)


def location_only(tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL


def entry_only(tensor: TensorProto) -> None:
    tensor.external_data.add(key="location", value="weights.bin")


@pytest.mark.parametrize("spoil", [location_only, entry_only])
@pytest.mark.parametrize("place", ["initializer", "branch", "sparse", "list"])
def test_external_data_is_refused_wherever_it_is(
    tmp_path: Path, spoil: Callable[[TensorProto], None], place: str
) -> None:
    model = tiny_model()
    if place == "initializer":
        spoil(model.graph.initializer[0])
    elif place == "branch":
        spoil(model.graph.node[1].attribute[1].g.node[0].attribute[0].t)
    elif place == "sparse":
        spoil(model.graph.sparse_initializer.add().indices)
    else:
        spoil(model.graph.node[0].attribute.add(name="many", type=9).tensors.add())
    error = refuse(tmp_path, model)
    assert (error.code, error.problem) == (53, "a tensor with external data")


def test_foreign_operators_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[1].attribute[0].g.node[0].domain = "com.example"
    error = refuse(tmp_path, model)
    assert (error.code, error.problem) == (53, "operator domain 'com.example', expected ONNX's own")


def test_foreign_operator_sets_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.opset_import.add(domain="com.example", version=1)
    assert "com.example" in refuse(tmp_path, model).problem


def test_the_long_name_of_the_standard_domain_is_accepted(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[0].domain = "ai.onnx"
    Bundle.open(make_bundle(tmp_path / "tiny", model))


def test_compiled_code_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node[0].op_type = "EPContext"
    assert "EPContext" in refuse(tmp_path, model).problem


def test_functions_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.functions.append(helper.make_function("", "f", [], [], [], [helper.make_opsetid("", 20)]))
    assert refuse(tmp_path, model).problem == "functions"


def test_training_information_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    model.training_info.add().initialization.name = "start"
    assert refuse(tmp_path, model).problem == "training information"


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    graph = model.graph
    for _ in range(30):
        graph = graph.node.add(op_type="If").attribute.add(name="b", type=5).g
    assert refuse(tmp_path, model).problem == "messages nested too deeply"


@pytest.mark.parametrize("content", [b"", b"\x08\x09", b"\x3a\x7f", b"\x0b", b"\x80" * 11, b"<html>", b"\x3a\x02\x0a"])
def test_bytes_that_are_no_model_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"E53 .*not an ONNX model"):
        onnx_safety.check_graph(path)


@given(content=st.binary(max_size=200), keep=st.integers(0, 400))
def test_any_bytes_are_accepted_or_refused_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, keep: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(tiny_model().SerializeToString()[:keep] + content)
    try:
        onnx_safety.check_graph(path)
    except ModelError as error:
        assert error.code == 53
