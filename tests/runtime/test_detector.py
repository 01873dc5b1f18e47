import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from golden.blob_graph import FLOOR, LARGE, SMALL, THRESHOLD, golden_bundle, scattered, volume_with_blobs

from picker_runtime.bundle import Bundle
from picker_runtime.detections import Detections
from picker_runtime.detector import Detection, Picker
from picker_runtime.errors import EngineError, InputError, ModelError, UsageError
from picker_runtime.mrc import write_mrc
from picker_runtime.nms import pick
from picker_runtime.records import DetectionRecord
from picker_runtime.thresholds import as_array

SHAPE = (40, 72, 64)
POSITIONS = scattered(SHAPE, count=14, apart=12, margin=5)
AMPLITUDES = np.where(np.arange(len(POSITIONS)) % 2, LARGE, SMALL)
VOLUME = volume_with_blobs(SHAPE, POSITIONS, AMPLITUDES) * 7 + 100


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return golden_bundle(tmp_path_factory.mktemp("models") / "golden", tile=(48, 48, 48))


@pytest.fixture(scope="module")
def picker(model: Path) -> Iterator[Picker]:
    with Picker(model, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def detection(picker: Picker) -> Detection:
    return picker.detect(VOLUME, voxel_size=10.0)


def found_at(picks: Detections, expected: np.ndarray, tolerance: float = 0.1) -> bool:
    distances = np.linalg.norm(picks.positions[:, None] - expected, axis=2)
    return len(picks) == len(expected) and distances.min(axis=0).max() < tolerance


def test_every_blob_is_found_in_its_place_with_its_class_and_diameter(detection: Detection) -> None:
    picks = detection.picks
    assert found_at(picks, POSITIONS)
    owners = np.linalg.norm(picks.positions[:, None] - POSITIONS, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(picks.class_ids, (AMPLITUDES == LARGE)[owners])
    np.testing.assert_array_equal(picks.diameters, np.where(picks.class_ids, 80.0, 50.0))
    for found in (picks, detection.candidates):
        assert np.all(np.diff(found.scores) <= 0)


def test_the_record_says_what_was_done(detection: Detection) -> None:
    record = detection.record
    assert DetectionRecord.from_json(record.to_json(), subject="record") == record
    assert (record.tomogram.name, record.tomogram.path, record.tomogram.shape) == ("array", "", SHAPE)
    assert record.tomogram.statistics["center"] == pytest.approx(100, abs=1)
    assert record.tomogram.statistics["scale"] == pytest.approx(7, rel=0.1)
    assert record.counts == {"small": 7, "large": 7}
    assert record.candidates == len(detection.candidates) >= len(detection.picks)
    assert (record.engine, record.floor, record.thresholds["small"]) == ("openvino", FLOOR, THRESHOLD)
    assert list(record.timings) == ["open", "statistics", "polarity", "inference", "nms"]
    assert record.options["tile"] == [48, 48, 44]
    assert record.warnings == ()


def test_picks_are_made_again_from_candidates_and_record(picker: Picker, detection: Detection) -> None:
    for threshold in (0.1, 0.45):
        wanted = picker.detect(VOLUME, voxel_size=10.0, thresholds=threshold).picks
        record = detection.record
        again = pick(
            detection.candidates,
            thresholds=as_array(dict.fromkeys(record.thresholds, threshold), detection.class_names),
            fraction=record.nms_fraction,
            voxel_size=record.tomogram.voxel_size_angstrom,
        )
        np.testing.assert_array_equal(again.positions, wanted.positions)
        np.testing.assert_array_equal(again.scores, wanted.scores)


def test_thresholds_and_classes_choose(picker: Picker) -> None:
    large = picker.detect(VOLUME, voxel_size=10.0, classes=["large"])
    assert found_at(large.picks, POSITIONS[AMPLITUDES == LARGE])
    assert large.record.counts == {"large": 7}
    assert set(large.candidates.class_ids) == {0, 1}
    assert found_at(picker.detect(VOLUME, voxel_size=10.0, thresholds={"small": 0.9}).picks, large.picks.positions)


@pytest.mark.parametrize("options", [{"thresholds": FLOOR / 2}, {"classes": ["huge"]}, {"voxel_size": None}])
def test_options_that_make_no_sense_are_refused(picker: Picker, options: dict) -> None:
    with pytest.raises(UsageError, match="E80"):
        picker.detect(VOLUME, **{"voxel_size": 10.0} | options)


@pytest.mark.parametrize("options", [{"threads": 0}, {"batch": 0}, {"halo": -1}, {"engine": "abacus"}])
def test_pickers_that_make_no_sense_are_refused(model: Path, options: dict) -> None:
    with pytest.raises(UsageError, match="E80"):
        Picker(model, **options)


def test_a_tile_without_room_for_a_core_is_refused(model: Path) -> None:
    with Picker(model, threads=1, tile=16) as picker, pytest.raises(UsageError, match="E80 --tile"):
        picker.detect(VOLUME, voxel_size=10.0)


def test_engine_tile_and_batch_change_nothing(model: Path, detection: Detection) -> None:
    with Picker(model, engine="onnxruntime", threads=1, tile=(40, 32, 48), halo=12, batch=3) as picker:
        other = picker.detect(VOLUME, voxel_size=10.0).picks
    assert found_at(other, detection.picks.positions, 0.002)


def test_files_and_arrays_give_the_same_picks(picker: Picker, detection: Detection, tmp_path: Path) -> None:
    write_mrc(tmp_path / "one.mrc", VOLUME, 10.0)
    found = picker.detect(tmp_path / "one.mrc")
    np.testing.assert_array_equal(found.picks.positions, detection.picks.positions)
    assert (found.record.tomogram.name, found.record.tomogram.path) == ("one.mrc", str(tmp_path / "one.mrc"))


def test_a_voxel_size_near_the_models_is_used_and_told_of(picker: Picker, detection: Detection) -> None:
    found = picker.detect(VOLUME, voxel_size=10.15)
    assert found_at(found.picks, detection.picks.positions, 0.001)
    assert found.record.warnings == ("voxel size 10.15 A used as it is, the model's is 10 A",)
    with pytest.raises(InputError, match="E30"):
        picker.detect(VOLUME, voxel_size=10.52)


def test_reversed_contrast_is_found_when_told_and_warned_of_when_not(picker: Picker) -> None:
    told = picker.detect(-VOLUME, voxel_size=10.0, invert=True)
    assert found_at(told.picks, POSITIONS)
    assert told.record.warnings == ()
    assert "try --invert" in picker.detect(-VOLUME, voxel_size=10.0).record.warnings[0]
    assert "leave out --invert" in picker.detect(VOLUME, voxel_size=10.0, invert=True).record.warnings[0]


def test_a_dark_model_finds_dark_blobs(tmp_path: Path) -> None:
    with Picker(golden_bundle(tmp_path / "dark", dark=True, stride=1), threads=1) as picker:
        assert found_at(picker.detect(-VOLUME, voxel_size=10.0).picks, POSITIONS)


def test_only_what_lies_in_the_mask_is_found(picker: Picker) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :30] = 1
    calls: list[int] = []
    found = picker.detect(VOLUME, voxel_size=10.0, mask=mask, progress=lambda done, total: calls.append(total))
    assert found_at(found.picks, POSITIONS[POSITIONS[:, 1] < 29.5])
    assert calls[0] == 2  # of 4 tiles, those that the mask touches
    assert np.all(found.candidates.positions[:, 1] < 29.5)
    nothing = picker.detect(VOLUME, voxel_size=10.0, mask=np.zeros(SHAPE, np.uint8))
    assert len(nothing.candidates) == len(nothing.picks) == 0


def test_a_tile_without_a_finite_voxel_yields_no_picks(model: Path) -> None:
    volume = volume_with_blobs((40, 121, 121), [(20, 5.5, 5.5), (20, 70, 70)])
    with Picker(model, threads=1, tile=(48, 16, 16), halo=4, batch=8) as picker:
        assert len(picker.detect(volume, voxel_size=10.0).picks) == 2
        volume[:, :12, :12] = np.nan  # 0.99 % of the volume, all that the tiles at the corner read
        found = picker.detect(volume, voxel_size=10.0)
        assert found_at(found.picks, np.array([[20, 70, 70]]))
        assert len(found.record.warnings) == 1
        volume[:, :13, :13] = np.nan
        with pytest.raises(InputError, match="E41"):
            picker.detect(volume, voxel_size=10.0)


def test_no_particles_give_no_picks(picker: Picker) -> None:
    found = picker.detect(volume_with_blobs((16, 20, 24), []), voxel_size=10.0)
    assert len(found.picks) == len(found.candidates) == 0
    assert found.record.counts == {"small": 0, "large": 0}


def test_a_crowd_is_split_or_warned_of(tmp_path: Path) -> None:
    with Picker(golden_bundle(tmp_path / "few", max_candidates=17, tile=(80, 96, 96)), threads=1) as picker:
        calls: list[tuple[int, int]] = []
        found = picker.detect(VOLUME, voxel_size=10.0, progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (1, 3)  # one tile, then its halves
    assert found_at(found.picks, POSITIONS)
    assert found.record.warnings == ()
    with Picker(golden_bundle(tmp_path / "fewer", max_candidates=8, tile=(80, 96, 96)), threads=1) as picker:
        found = picker.detect(VOLUME, voxel_size=10.0)
    assert len(found.picks) < len(POSITIONS)
    assert "more than 8 candidates" in found.record.warnings[0]


def test_a_file_that_changes_meanwhile_is_refused(picker: Picker, tmp_path: Path) -> None:
    path = tmp_path / "one.mrc"
    write_mrc(path, VOLUME, 10.0)
    with pytest.raises(InputError, match=r"E13 one\.mrc"):
        picker.detect(path, progress=lambda done, total: path.touch() if done == total else None)


def test_progress_ends_at_all_tiles(picker: Picker) -> None:
    calls: list[tuple[int, int]] = []
    picker.detect(VOLUME, voxel_size=10.0, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == len(calls) > 1


def test_a_picker_opens_its_engine_by_itself_and_again_after_close(model: Path) -> None:
    picker = Picker(model, threads=1)
    first = picker.detect(VOLUME, voxel_size=10.0)
    picker.close()
    picker.close()
    np.testing.assert_array_equal(picker.detect(VOLUME, voxel_size=10.0).picks.positions, first.picks.positions)
    picker.close()


def test_threads_that_share_a_picker_take_turns(model: Path) -> None:
    entered, leave, seen = threading.Event(), threading.Event(), []

    def first(done: int, total: int) -> None:
        entered.set()
        leave.wait(20)

    with Picker(model, threads=1) as picker, ThreadPoolExecutor(2) as pool:
        one = pool.submit(picker.detect, VOLUME, voxel_size=10.0, progress=first)
        assert entered.wait(20)
        other = pool.submit(picker.detect, VOLUME, voxel_size=10.0, progress=lambda *step: seen.append(step))
        time.sleep(0.3)
        assert seen == []
        leave.set()
        np.testing.assert_array_equal(one.result().picks.positions, other.result().picks.positions)
        assert seen


def test_a_model_that_changed_meanwhile_is_not_run(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    picker = Picker(tmp_path / "model", threads=1)
    card = tmp_path / "model/card.json"
    card.write_text(card.read_text().replace('"version": "1"', '"version": "2"'))
    with pytest.raises(ModelError, match="E52 model: is not the model any more"):
        picker.detect(VOLUME, voxel_size=10.0)


def test_a_graph_that_changed_meanwhile_is_not_run(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    picker = Picker(tmp_path / "model", threads=1)
    graph = tmp_path / "model/model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"0")
    with pytest.raises(ModelError, match=r"E52 model/model\.onnx: sha256"):
        picker.detect(VOLUME, voxel_size=10.0)


def test_files_are_read_again_only_where_they_were_touched(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model, tmp_path / "model")
    picker = Picker(tmp_path / "model", threads=1)
    opened: list[Path] = []
    original = Bundle.open
    monkeypatch.setattr(Bundle, "open", lambda folder: opened.append(folder) or original(folder))
    with picker:
        assert opened == []
    (tmp_path / "model/model.onnx").touch()
    for _ in range(2):
        with picker:
            assert opened == [tmp_path / "model"]


def test_numpy_s_numbers_are_recorded_as_numbers(picker: Picker) -> None:
    found = picker.detect(VOLUME, voxel_size=np.float32(10), thresholds={"large": np.float32(0.5)})
    assert json.loads(found.record.to_json())["options"]["voxel_size"] == 10.0


def test_a_missing_engine_is_said_on_entering(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="E60"):
        Picker(model, engine="onnxruntime").__enter__()


PEAK = """
import json, re, sys
from pathlib import Path
from picker_runtime.detector import Picker
model, path = sys.argv[1:]
with Picker(model, threads=1) as picker:
    found = picker.detect(path)
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([len(found.picks), int(peak[1]) / 1024]))
"""


def peak_memory(model: Path, tomogram: Path) -> tuple[int, float]:
    """Return the picks in a tomogram and the most memory in MiB of a process that finds them.

    Unlike getrusage's, this peak does not begin with the memory of the process that started it.
    """
    command = [sys.executable, "-c", PEAK, str(model), str(tomogram)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    picks, peak = json.loads(done.stdout)
    return picks, peak


@pytest.mark.long
def test_memory_does_not_grow_with_the_volume(model: Path, tmp_path: Path) -> None:
    block = volume_with_blobs((64, 128, 128), scattered((64, 128, 128), count=20, apart=14, margin=8))
    for name, repeats in (("one", (2, 4, 2)), ("four", (2, 8, 4))):  # 64 and 256 MiB: both fill the statistics' sample
        write_mrc(tmp_path / f"{name}.mrc", np.tile(block, repeats), 10.0)
    (few, small), (many, large) = (peak_memory(model, tmp_path / f"{name}.mrc") for name in ("one", "four"))
    assert (few, many) == (320, 1280), (small, large)
    assert large < 1.05 * small < 1.05 * 1430


def test_a_picker_is_of_no_use_in_a_process_that_was_forked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Picker(model, threads=1) as picker:
        monkeypatch.setattr("picker_runtime.detector.os.getpid", lambda: -1)
        for use in (lambda: picker.detect(VOLUME, voxel_size=10.0), picker.__enter__):
            with pytest.raises(EngineError, match="E61 this Picker: was opened in another process"):
                use()
        picker.close()  # the other process's engine is left alone
        monkeypatch.undo()
        assert len(picker.detect(VOLUME, voxel_size=10.0).picks)
    with Picker(model, threads=1) as unopened:
        unopened.close()
        monkeypatch.setattr("picker_runtime.detector.os.getpid", lambda: -1)
        assert len(unopened.detect(VOLUME, voxel_size=10.0).picks)


def test_two_threads_open_the_engine_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picker = Picker(model, threads=1)
    opened: list[float] = []

    class Slow:
        def __enter__(self) -> None:
            opened.append(time.monotonic())
            time.sleep(0.3)

        def __exit__(self, *rest: object) -> None: ...

    monkeypatch.setattr(picker, "_engine", Slow())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: picker.__enter__(), range(2)))
    assert len(opened) == 1


def test_what_comes_next_does_not_open_an_engine(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mrc(tmp_path / "a.mrc", VOLUME, 10.0)

    class Reading:
        announced = 0

        def __enter__(self) -> None: ...

        def __exit__(self, *rest: object) -> None: ...

        def prefetch(self, voxels: object) -> None:
            self.announced += 1

    picker, engine = Picker(model, threads=1), Reading()
    monkeypatch.setattr(picker, "_engine", engine)
    picker.expect(tmp_path / "a.mrc")
    assert engine.announced == 0
    with picker:
        picker.expect(tmp_path / "a.mrc")
    assert engine.announced == 1


def test_the_record_says_which_software_found_the_picks(model: Path) -> None:
    with Picker(model, engine="openvino", threads=1) as picker:
        software = picker.detect(VOLUME, voxel_size=10.0).record.software
    assert {"numpy": np.__version__}.items() <= software.items()
    assert set(software) == {"picker-cryoet", "numpy", "openvino"}


def test_closing_waits_for_an_engine_that_is_being_opened(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picker, opening, events = Picker(model, threads=1), threading.Event(), []

    class Slow:
        def __enter__(self) -> None:
            opening.set()
            time.sleep(0.3)
            events.append("opened")

        def __exit__(self, *rest: object) -> None:
            events.append("closed")

    monkeypatch.setattr(picker, "_engine", Slow())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(picker.__enter__)
        assert opening.wait(20)
        picker.close()
    assert events == ["opened", "closed"]


def test_an_engine_that_does_not_open_may_be_tried_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picker = Picker(model, threads=1)
    with monkeypatch.context() as patch:
        patch.setattr(type(picker._engine), "__enter__", lambda engine: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            picker.__enter__()
    assert len(picker.detect(VOLUME, voxel_size=10.0).picks)
