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


@pytest.mark.parametrize("rule", ["shrec2020-copy", "shrec2021", "shrec2021-clean", "paper", "czii", "distance"])
def test_z_offset(rule: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"czii": ["--radius", "1bxn=60", "--radius", "4d8q=60"], "distance": DIAMETERS}.get(rule, [])
    picks = shrec_file(folder, "1bxn 8 5 13\n")  # ten slices above, among background
    assert evaluate(capsys, rule, folder, picks, *more)["tp"] == 0
    assert evaluate(capsys, rule, folder, picks, *more, "--z-offset", "10")["tp"] == 1


def test_frames_are_no_offsets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rule", "shrec2020", "--truth", str(folder), "--picks", shrec_file(folder), "--z-offset", "3"]
    status, message = refused(capsys, *arguments)
    assert (status, message.split()[1:3]) == (2, ["E80", "--z-offset:"])


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
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:7] == ["RR", "TP", "FP", "FN", "MH", "RO", "AD"]
    assert printed[1].split()[:6] == ["2", "2", "0", "0", "0", "0"]


@pytest.mark.parametrize(
    "options, status, code",
    [
        (["--rule", "shrec2022"], 2, "E80"),
        (["--rule", "shrec2021", "--z-frame", "tomogram"], 2, "E80"),
        (["--rule", "shrec2020-copy", "--z-frame", "guess"], 2, "E80"),
        (["--rule", "shrec2020", "--padding", "3"], 2, "E80"),
        (["--rule", "shrec2020", "--radius", "1bxn=60"], 2, "E80"),
        (["--rule", "paper", "--weight", "1bxn=2"], 2, "E80"),
        (["--rule", "paper", "--model", "other"], 2, "E80"),
        (["--rule", "distance", "--mask", "occupancy_mask_open", *DIAMETERS], 2, "E80"),
        (["--rule", "czii"], 2, "E80"),
        (["--rule", "czii", "--radius", "1bxn=60"], 2, "E80"),
        (["--rule", "czii", "--radius", "1bxn=0", "--radius", "4d8q=1"], 2, "E80"),
        (["--rule", "czii", "--radius", "1bxn=6", "--radius", "4d8q=6", "--weight", "4d8q=-1"], 2, "E80"),
        (["--rule", "czii", "--radius", "1bxn=6", "--radius", "4d8q=6", "--weight", "3gl1=1"], 2, "E80"),
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


ORGANISERS = ["shrec2019", "shrec2020", "shrec2020-copy", "shrec2021", "shrec2021-clean", "paper"]
KEYS = "rr tp fp fn mh ro ad recall precision miss_rate f1 class_f1 mean_class_f1 confusion_matrix"


@pytest.mark.parametrize("rule", [*ORGANISERS, "czii"])
def test_every_rule_has_the_same_keys(rule: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    radii = ["--radius", "1bxn=60", "--radius", "4d8q=60"] if rule == "czii" else []
    picks = shrec_file(folder, "1bxn 8 5 3\n")
    if rule == "shrec2019":
        (folder / "particle_locations.txt").write_text("1bxn 3 5 8\n4d8q 10 11 12\n")
        picks = shrec_file(folder, "1bxn 3 5 8\n")
    found = evaluate(capsys, rule, folder, picks, *radii)
    assert set(KEYS.split()) <= set(found)
    assert ("fbeta4" in found) == (rule == "czii")
    assert (found["rr"], found["tp"], found["fp"], found["fn"], found["recall"]) == (1, 1, 0, 1, 0.5)
    assert found["confusion_matrix"]["labels"][0] == "background"
    assert sum(map(sum, found["confusion_matrix"]["rows"])) == 2


def test_shrec2019_reads_z_y_x_in_text_and_our_csv_by_its_header(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "particle_locations.txt").write_text("1bxn 3 5 8\n4d8q 10 11 12\n")
    text = shrec_file(folder, "class z y x\n1bxn 3 5 8\n")
    assert evaluate(capsys, "shrec2019", folder, text)["tp"] == 1
    assert evaluate(capsys, "shrec2019", folder, csv_file(folder, "one"))["ad"] == 0
    in_tomogram = shrec_file(folder, "1bxn 161 7 10\n")
    options = ["--z-frame", "tomogram", "--padding", "2"]
    assert evaluate(capsys, "shrec2019", folder, in_tomogram, *options)["ad"] == 0
    assert evaluate(capsys, "shrec2019", folder, shrec_file(folder, "1bxn 8 5 3\n"))["tp"] == 0


def test_rules_differ_where_they_should(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = shrec_file(folder, "1bxn 8 5 3\n1bxn 8 5 3\n4d8q 12 11 99\n")
    copy = evaluate(capsys, "shrec2020-copy", folder, picks)
    assert (copy["ro"], copy["precision"]) == (1, 1 / 3)
    assert evaluate(capsys, "shrec2020", folder, picks)["ro"] == 0
    paper = evaluate(capsys, "paper", folder, picks)
    assert (paper["precision"], paper["fp"]) == (1, 0)


def test_a_mask_too_small_for_2021_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = shrec_file(folder, "1bxn 8 5 3\n1bxn 8 5 200\n")
    status, message = refused(capsys, "--rule", "shrec2021", "--truth", str(folder), "--picks", picks)
    assert (status, message.split()[1]) == (3, "E45")
    assert "picks.txt: pick 2 lies at x y z = 8 5 200, the mask has 20x16x16" in message
    assert "--z-offset 166" in message


def test_a_named_mask_is_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = Truth(names=("1bxn", "4d8q"), positions=np.array([[3.25, 5, 8], [10, 11, 12]]))
    volumes = {"occupancy_mask_open": np.zeros((16, 16, 20), np.int32)}
    write_truth(folder, truth, voxel_size=10.0, volumes=volumes)
    assert evaluate(capsys, "shrec2020", folder, shrec_file(folder))["tp"] == 2
    assert evaluate(capsys, "shrec2020", folder, shrec_file(folder), "--mask", "occupancy_mask_open")["tp"] == 0


RADII = ["--radius", "1bxn=20", "--radius", "4d8q=60"]


def test_czii_takes_radii_and_weights(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = shrec_file(folder, "1bxn 8 5 4\n4d8q 12 11 14\n")  # 7.5 A of 10 allowed, 40 A of 30 allowed
    found = evaluate(capsys, "czii", folder, picks, *RADII)
    assert (found["tp"], found["fbeta4"], found["ad"]) == (1, 0.5, 0.75)
    assert evaluate(capsys, "czii", folder, picks, *RADII, "--weight", "1bxn=3")["fbeta4"] == 0.75
    assert evaluate(capsys, "czii", folder, picks, *RADII, "--weight", "4d8q=0")["fbeta4"] == 1
    assert evaluate(capsys, "czii", folder, picks, *RADII, "--voxel-size", "20")["tp"] == 0


def test_czii_sums_over_tomograms(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picks = shrec_file(folder, "1bxn 8 5 3\n")
    twice = ["--truth", str(folder), "--picks", picks]
    found = evaluate(capsys, "czii", folder, picks, *twice, *RADII)
    assert (found["rr"], found["tp"], found["truths"]) == (2, 2, 4)
    for options in (["--rule", "shrec2020", *twice], ["--rule", "czii", "--picks", picks, *RADII]):
        status, message = refused(capsys, "--truth", str(folder), "--picks", picks, *options)
        assert (status, message.split()[1]) == (2, "E80")


def test_czii_knows_the_challenges_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = Truth(names=("ribosome", "apo-ferritin"), positions=np.array([[3.0, 5, 8], [10, 11, 12]]))
    volumes = {"occupancy_mask": np.zeros((16, 16, 20), np.int32)}
    write_truth(tmp_path / "model_0", truth, voxel_size=10.0, volumes=volumes)
    picks = shrec_file(tmp_path / "model_0", "ribosome 15.5 5 3\napo-ferritin 15.5 11 10\n")  # 75 A and 35 A away
    found = evaluate(capsys, "czii", tmp_path / "model_0", picks)
    assert (found["tp"], found["fbeta4"]) == (1, pytest.approx(1 / 7))


def test_plot(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rule, options in (("shrec2020", []), ("distance", DIAMETERS), ("czii", RADII)):
        path = tmp_path / f"{rule}.svg"
        evaluate(capsys, rule, folder, shrec_file(folder), "--plot", str(path), *options)
        assert "1bxn 560 kDa" in path.read_text()
    status, message = refused(
        capsys, "--rule", "shrec2020", "--truth", str(folder), "--picks", shrec_file(folder),
        "--plot", str(tmp_path / "no" / "f.svg"),
    )  # fmt: skip
    assert (status, message.split()[1]) == (6, "E70")


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
