"""A bundle is exported out of sight: an older one serves until the new one is complete."""

from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle

from picker_export.staging import STAGE, staged
from picker_runtime.bundle import Bundle
from picker_runtime.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_older_bundle_serves_until_the_new_one_is_complete(tmp_path: Path) -> None:
    folder = golden_bundle(tmp_path / "golden")
    (folder / "notes.md").write_text("kept")
    for stale in ("model.fp16.onnx", "model.int8.xml", "model.int8.bin"):
        (folder / stale).write_text("of the older one")
    with staged(folder) as stage:
        golden_bundle(stage, max_candidates=128)
        before = Bundle.open(folder).card
    after = Bundle.open(folder).card
    assert (before.max_candidates, after.max_candidates) == (64, 128)
    assert names(folder) == sorted({*after.files, "card.json", "notes.md"})


def test_what_goes_wrong_leaves_the_older_bundle(tmp_path: Path) -> None:
    folder = golden_bundle(tmp_path / "golden")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KeyboardInterrupt), staged(folder) as stage:
        (stage / "model.onnx").write_text("half")
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_card_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, moved, replace = tmp_path / "new", [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: (moved.append(path.name), replace(path, target)))
    with staged(folder) as stage:
        for name in ("card.json", "model.onnx", "selftest.npz", "README.md"):
            (stage / name).touch()
    assert moved[-1] == "card.json"
    assert names(folder) == sorted(moved)


def test_what_a_killed_export_left_does_not_get_into_the_next(tmp_path: Path) -> None:
    (tmp_path / STAGE).mkdir()
    (tmp_path / STAGE / "model.int8.bin").touch()
    with staged(tmp_path) as stage:
        assert list(stage.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="E70"), staged(tmp_path / "file/bundle"):
        raise AssertionError
