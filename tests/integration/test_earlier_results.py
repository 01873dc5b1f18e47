"""What an earlier run left in the folder: nothing stale stays beside new picks, nothing is replaced without a word."""

import json
from pathlib import Path

import pytest
from integration.command_line import contents, picker, tomogram

from picker_runtime import outputs
from picker_runtime.errors import OutputError


@pytest.mark.parametrize("moment", ["the files of other formats are removed", "the record is removed"])
def test_no_file_of_another_format_outlives_the_picks_that_it_holds(
    moment: str, tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record alone knows of them: a run that ends before it is removed leaves it to the next, which writes them."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mrc", "b.mrc"):
        tomogram(tmp_path / name)
    detect = ("detect", "a.mrc", "-o", "out", "--model", golden_model)
    assert picker(*detect, "b.mrc", "--format", "relion5", "--format", "coords").status == 0
    before = contents(tmp_path / "out")

    def full(*_: object) -> None:
        raise OutputError(71, "out", "cannot be written", "free some space")

    with monkeypatch.context() as broken:
        owner, function = (outputs.relion5, "write_index") if "files" in moment else (outputs.csv, "write")
        broken.setattr(owner, function, full)
        assert picker(*detect).status == 6
    left = contents(tmp_path / "out")
    lost = {name for name in before if name.startswith("a_")}
    assert len(lost) > 1
    assert before.keys() - left.keys() == (lost if "files" in moment else lost | {"a.json"})
    assert picker(*detect).status == 0
    after = contents(tmp_path / "out")
    assert before.keys() - after.keys() == (set() if "files" in moment else lost)
    assert (b"a_particles" in after["particles_index.star"]) == ("a_particles.star" in after)
    assert b"b_particles" in after["particles_index.star"]


def test_picks_that_end_early_in_another_folder_leave_no_record_of_other_candidates_there(
    tmp_path: Path, golden_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomogram(tmp_path / "a.mrc")
    for folder in ("first", "second"):
        assert picker("detect", tmp_path / "a.mrc", "-o", tmp_path / folder, "--model", golden_model).status == 0

    def full(*_: object) -> None:
        raise OutputError(71, "second", "cannot be written", "free some space")

    monkeypatch.setattr(outputs.csv, "write", full)
    for folder, stays in (("second", False), ("first", True)):
        assert picker("picks", tmp_path / "first", "-o", tmp_path / folder).status == 6
        assert (tmp_path / folder / "a.json").exists() == stays


def test_results_of_another_tomogram_are_not_replaced_without_a_word(tmp_path: Path, golden_model: Path) -> None:
    for session in ("session1", "session2"):
        (tmp_path / session).mkdir()
        tomogram(tmp_path / session / "a.mrc")
    (tmp_path / "link").symlink_to("session2")

    def warned(session: str) -> bool:
        outcome = picker("detect", tmp_path / session / "a.mrc", "-o", tmp_path / "out", "--model", golden_model)
        assert outcome.status == 0
        warnings = json.loads((tmp_path / "out/a.json").read_text())["warnings"]
        assert [f"warning: a.mrc: {warning}" in outcome.stderr for warning in warnings] == [True] * len(warnings)
        both = [str(tmp_path.resolve() / session / "a.mrc") for session in ("session1", "session2")]
        assert all(path in warning for path in both for warning in warnings)
        return bool(warnings)

    assert [warned(session) for session in ("session1", "session1", "session2", "link")] == [False, False, True, False]
    (tmp_path / "session2").rename(tmp_path / "moved")
    assert not warned("moved")
