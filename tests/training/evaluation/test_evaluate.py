"""`picker-training evaluate` from the command line to the printed score."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from picker_training.cli import run
from picker_training.datasets.shrec import write_truth
from picker_training.datasets.truth import Truth
from picker_training.evaluation import scoring

HEADER = "tomogram,class,score,x,y,z,x_angstrom,y_angstrom,z_angstrom,diameter_angstrom\n"
DIAMETERS = ["--diameter", "1bxn=60", "--diameter", "4d8q=60"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two particles of one voxel in 16 x 16 x 20 voxels of 10 A."""
    mask = np.zeros((16, 16, 20), np.int32)
    mask[3, 5, 8], mask[10, 11, 12] = 1, 2
    truth = Truth(names=("1bxn", "4d8q"), positions=np.array([[3.25, 5, 8], [10, 11, 12]]))
    write_truth(tmp_path / "model_0", truth, voxel_size=10.0, volumes={"occupancy_mask": mask})
    return tmp_path / "model_0"


def shrec_file(folder: Path, text: str = "# best first\nclass x y z\n\n1bxn 8 5 3 0 0 0\n1bxn 12 11 10\n") -> str:
    path = folder.parent / "picks.txt"
    path.write_text(text)
    return str(path)


def csv_file(folder: Path, *tomograms: str) -> str:
    path = folder.parent / "picks.csv"
    rows = [f"{name},1bxn,0.{9 - i},8.0,5.0,3.0,80,50,30,60\n" for i, name in enumerate(tomograms)]
    path.write_text(HEADER + "".join(rows))
    return str(path)


def evaluate(capsys: pytest.CaptureFixture[str], rule: str, folder: Path, picks: str, *options: str) -> Any:
    assert run(["evaluate", "--rule", rule, "--truth", str(folder), "--picks", picks, "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status = run(["evaluate", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return status, captured.err


def test_shrec2020_of_shrec_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(capsys, "shrec2020", folder, shrec_file(folder))
    assert found["rule"] == "shrec2020"
    assert (found["rr"], found["tp"], found["fp"], found["f1"]) == (2, 2, 0, 1)
    assert found["class_f1"]["1bxn"] == pytest.approx(2 / 3)
    assert found["mean_class_f1"] == pytest.approx(1 / 3)


def test_shrec2020_of_our_csv_keeps_file_order(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(capsys, "shrec2020", folder, csv_file(folder, "tomo", "tomo"))
    assert (found["rr"], found["tp"], found["mh"], found["precision"]) == (2, 1, 1, 0.5)


def test_z_frame(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = shrec_file(folder, "1bxn 8 5 159\n")
    assert evaluate(capsys, "shrec2020", folder, picks, "--z-frame", "tomogram")["tp"] == 1
    assert evaluate(capsys, "shrec2020", folder, picks, "--z-frame", "guess")["tp"] == 1
    assert evaluate(capsys, "shrec2020", folder, picks)["tp"] == 0


def test_distance_takes_diameters_and_the_masks_voxel_size(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(capsys, "distance", folder, shrec_file(folder), *DIAMETERS)
    assert (found["tp"], found["centre_error_voxels"]) == (2, 0.125)
    narrow = evaluate(capsys, "distance", folder, shrec_file(folder), *DIAMETERS, "--diameter", "1bxn=4")
    assert narrow["tp"] == 1  # 0.25 voxel is more than half of 0.4
    assert evaluate(capsys, "distance", folder, shrec_file(folder), *DIAMETERS, "--voxel-size", "99")["tp"] == 2


def test_distance_asks_the_model_for_missing_diameters(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str) -> SimpleNamespace:
        names = ("1bxn", "4d8q") if name == "mine" else ()
        classes = [SimpleNamespace(name=known, diameter_angstrom=4.0) for known in names]
        return SimpleNamespace(card=SimpleNamespace(classes=classes))

    monkeypatch.setattr(scoring, "Bundle", SimpleNamespace(open=opened))
    found = evaluate(capsys, "distance", folder, shrec_file(folder), "--model", "mine", "--diameter", "1bxn=60")
    assert found["tp"] == 2
    assert evaluate(capsys, "distance", folder, shrec_file(folder), "--model", "mine")["tp"] == 1


def test_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--truth", str(folder), "--picks", shrec_file(folder)]
    assert run(["evaluate", "--rule", "shrec2020", *arguments]) == 0
    assert "localisation" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options, status, code",
    [
        (["--rule", "shrec2021"], 2, "E80"),
        (["--rule", "distance", "--diameter", "1bxn"], 2, "E80"),
        (["--rule", "distance", "--diameter", "1bxn=-3"], 2, "E80"),
        (["--rule", "distance", "--z-frame", "guess", *DIAMETERS], 2, "E80"),
        (["--rule", "distance", "--voxel-size", "0", *DIAMETERS], 2, "E80"),
        (["--rule", "distance", "--model", "nothing", "--diameter", "1bxn=60"], 4, "E50"),
    ],
)
def test_wrong_options(
    options: list[str], status: int, code: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, message = refused(capsys, "--truth", str(folder), "--picks", shrec_file(folder), *options)
    assert (found, message.startswith(f"picker: {code} ")) == (status, True)


def test_class_without_diameter_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = SimpleNamespace(card=SimpleNamespace(classes=[]))
    monkeypatch.setattr(scoring, "Bundle", SimpleNamespace(open=lambda name: bundle))
    arguments = ("--rule", "distance", "--truth", str(folder), "--picks", shrec_file(folder), "--diameter", "1bxn=60")
    status, message = refused(capsys, *arguments)
    assert status == 2
    assert "no diameter for 4d8q of the truth. Fix: add --diameter 4d8q=ANGSTROM." in message


def test_wrong_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def status_of(truth: Path, picks: str) -> tuple[int, str]:
        status, message = refused(capsys, "--rule", "shrec2020", "--truth", str(truth), "--picks", picks)
        return status, message.split()[1]

    good = shrec_file(folder)
    assert status_of(folder, csv_file(folder, "one", "two")) == (3, "E44")
    assert status_of(folder.parent, good) == (3, "E46")
    assert status_of(folder, str(folder / "absent.txt")) == (3, "E44")
    assert status_of(folder, shrec_file(folder, "1bxn 8 5\n")) == (3, "E44")
    assert status_of(folder, shrec_file(folder, "1bxn 8 5 nan\n")) == (3, "E44")


def test_nothing_given_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "evaluate" in capsys.readouterr().out


def test_evaluate_needs_neither_torch_nor_scipy(folder: Path) -> None:
    arguments = ["evaluate", "--rule", "shrec2020", "--truth", str(folder), "--picks", shrec_file(folder)]
    code = (
        "import sys; from picker_training.cli import run; status = run(sys.argv[1:]);"
        "heavy = {'torch', 'scipy', 'onnx', 'openvino'} & set(sys.modules); sys.exit(f'{heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
