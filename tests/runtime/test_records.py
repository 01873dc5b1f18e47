"""Detection records: round trip, strictness, relative paths."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from picker_runtime.errors import InputError
from picker_runtime.records import DetectionRecord, ModelRecord, TomogramRecord, path_from

RECORD = DetectionRecord(
    tomogram=TomogramRecord(
        name="TS 01",
        path="../TS 01.mrc",
        shape=(20, 40, 61),
        voxel_size_angstrom=10.0,
        statistics={"center": -0.25, "scale": 1.5, "fill": None},
        header={"origin": [0.0, 1.0, 2.0], "mode": 2},
    ),
    model=ModelRecord(name="shrec12", version="1.0", sha256="0" * 64, classes=("1bxn", "4d8q")),
    engine="openvino",
    thresholds={"1bxn": 0.4, "4d8q": 0.35},
    nms_fraction=0.5,
    floor=0.05,
    counts={"1bxn": 3, "4d8q": 0},
    candidates=17,
    timings={"read": 0.5},
    warnings=("the voxel size of the header was overridden",),
    outputs=("TS 01.csv", "TS 01.candidates.csv"),
    options={"invert": False},
)


def test_round_trip_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "TS 01.json"
    RECORD.write(path)
    assert DetectionRecord.read(path) == RECORD
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"flor": 0.1}, "unknown key 'flor'; the nearest known key is 'floor'"),
        ({"schema": 0}, "schema is 0, expected 1 to 2"),
        ({"floor": 1.5}, "floor is 1.5"),
        ({"candidates": "17"}, "candidates is"),
        ({"thresholds": {"9xyz": 0.5}}, "class '9xyz' is not one of 1bxn, 4d8q"),
        ({"tomogram": {"name": "a", "path": "", "shape": [0, 1, 1], "voxel_size_angstrom": 1.0}}, "must be positive"),
    ],
)
def test_a_changed_record_is_refused(change: dict[str, object], problem: str) -> None:
    text = json.dumps({**json.loads(RECORD.to_json()), **change})
    with pytest.raises(InputError, match=f"E44 a.json: not a detection record: .*{problem}"):
        DetectionRecord.from_json(text, subject="a.json")


@pytest.mark.parametrize("content", [b"\xff", b"{", b""])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"E44 a\.json"):
        DetectionRecord.read(tmp_path / "a.json")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E44 a\.json: cannot be read"):
        DetectionRecord.read(tmp_path / "a.json")


def test_a_record_checks_itself_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="class 'x' is not one of"):
        replace(RECORD, counts={"x": 1})


def test_paths_are_seen_from_the_records_folder(tmp_path: Path) -> None:
    assert path_from(tmp_path / "picks", tmp_path / "data" / "a.mrc") == "../data/a.mrc"
    assert path_from(tmp_path, tmp_path / "a.mrc") == "a.mrc"


def test_paths_hold_where_the_records_folder_is_a_link(tmp_path: Path) -> None:
    for name in ("scratch/u/picks", "project/data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project/data/a.mrc").touch()
    picks = tmp_path / "project/picks"
    picks.symlink_to(tmp_path / "scratch/u/picks")
    path = path_from(picks, tmp_path / "project/data/a.mrc")
    assert path == "../../../project/data/a.mrc"
    assert (picks / path).samefile(tmp_path / "project/data/a.mrc")
    assert path_from(tmp_path / "scratch", picks / path) == "../project/data/a.mrc"


def test_a_record_of_a_newer_picker_is_called_so() -> None:
    newer = json.dumps(json.loads(RECORD.to_json()) | {"schema": 3, "gain": 1})
    with pytest.raises(InputError, match=r"E44 a\.json: was written by a newer picker: schema 3, this one reads 2\."):
        DetectionRecord.from_json(newer, subject="a.json")


def test_a_record_from_before_software_was_noted_is_read() -> None:
    older = json.loads(RECORD.to_json())
    del older["software"]
    read = DetectionRecord.from_json(json.dumps(older | {"schema": 1}), subject="a.json")
    assert read == RECORD
