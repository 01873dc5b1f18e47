"""The table of a benchmark: every number under its heading, in the unit that the heading names."""

from dataclasses import replace

from training.benchmarking.tiny_protocol import TINY

from picker_training.benchmarking.protocol import Difficulty
from picker_training.benchmarking.running import Result
from picker_training.benchmarking.table import render

PROTOCOL = replace(
    TINY,
    classes=("3gl1", "3h84", "1u6g"),
    difficulties=(Difficulty(name="easy", snr=2.0), Difficulty(name="hard", snr=0.125)),
    timing_shape=(100, 200, 300),
)
EASY = {
    "shrec2020": {"f1": 0.9121, "mean_class_f1": 0.8231, "class_f1": {"3gl1": 0.711, "3h84": None, "1u6g": 0.532}},
    "distance": {
        "f1": 0.9451, "mean_class_f1": 0.8561, "class_f1": {"3gl1": 0.741, "3h84": 0.653, "1u6g": 0.564},
        "centre_error_voxels": 0.741,
    },
}  # fmt: skip
HARD = {
    "shrec2020": {"f1": 0.4121, "mean_class_f1": 0.3231, "class_f1": {"1u6g": 0.212}},
    "distance": {"f1": 0.4451, "mean_class_f1": 0.3561, "class_f1": {}, "centre_error_voxels": None},
}
LEARNT = Result(
    protocol="tiny",
    entry="point-s",
    seed=3,
    minutes=45.0,
    threads=6,
    device="cpu",
    training={"seconds": 1716.0, "steps": 4321, "samples": 8642},
    parameters=1_234_567,
    mac_per_voxel=25_340.0,
    timing={"seconds": 5.3, "voxels": 1_500_000},
    scores={"easy": EASY, "hard": HARD},
)
UNTRAINED = replace(LEARNT, entry="log", training=None, parameters=None, mac_per_voxel=None)


def rows_of(section: str) -> list[dict[str, str]]:
    """Return the rows of a table by their headings."""
    head, _, *body = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    return [dict(zip(head, row, strict=True)) for row in body]


def test_every_number_stands_under_its_heading() -> None:
    figures, by_class = render(PROTOCOL, {("point-s", 3): LEARNT}).split("F1 of each class by `shrec2020`:")
    easy, hard = rows_of(figures)
    assert easy == {
        "protocol": "tiny", "detector": "point-s", "seed": "3", "difficulty": "easy (2)",
        "loc. F1": "0.912", "class F1": "0.823", "loc. F1 (distance)": "0.945", "class F1 (distance)": "0.856",
        "centre error": "0.74", "parameters": "1,234,567", "GMAC / Mvoxel": "25.3", "training, min": "28.6",
        "seconds": "21.2", "threads": "6 cpu",
    }  # fmt: skip
    assert hard == easy | {
        "difficulty": "hard (0.125)",
        "loc. F1": "0.412", "class F1": "0.323", "loc. F1 (distance)": "0.445", "class F1 (distance)": "0.356",
        "centre error": "",
    }  # fmt: skip
    place = {"protocol": "tiny", "detector": "point-s", "seed": "3"}
    assert rows_of(by_class) == [
        place | {"difficulty": "easy (2)", "3gl1": "0.71", "3h84": "", "1u6g": "0.53"},
        place | {"difficulty": "hard (0.125)", "3gl1": "", "3h84": "", "1u6g": "0.21"},
    ]


def test_what_was_not_run_or_not_trained_stays_empty() -> None:
    results = {("point-s", 3): LEARNT, ("unet", 5): None, ("log", None): UNTRAINED}
    figures, by_class = render(replace(PROTOCOL, difficulties=PROTOCOL.difficulties[:1]), results).split("F1 of each")
    learnt, missing, untrained = rows_of(figures)
    place = {"protocol": "tiny", "detector": "unet", "seed": "5", "difficulty": "easy (2)"}
    assert missing == dict.fromkeys(learnt, "") | place
    assert untrained == learnt | {
        "detector": "log", "seed": "", "parameters": "", "GMAC / Mvoxel": "", "training, min": "",
    }  # fmt: skip
    assert rows_of(by_class)[1] == {**place, "3gl1": "", "3h84": "", "1u6g": ""}
