"""What binds a run once it has a checkpoint, and nothing before: configuration, model begun with, labels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training.labelled import SHAPE, Labelled, labelled
from training.tiny_fit import CONFIG

from picker_runtime import atomic
from picker_runtime.bundle import Bundle
from picker_runtime.errors import UsageError
from picker_runtime.mrc import write_mrc
from picker_training.config import DataSection, ModelSection, TrainingConfig, load_config
from picker_training.run_terms import Labels, bind_run, check_labels, labels_of, prepare_run
from picker_training.training_data import open_data

OTHER = replace(CONFIG, point=replace(CONFIG.point, widths=(16, 16, 16)))


def begin(folder: Path) -> None:
    (folder / "checkpoint.pt").touch()


def start(folder: Path, config: TrainingConfig, *, model: str | None = None, labels: Labels | None = None) -> None:
    bundle = Bundle.open(model) if model else None
    prepare_run(folder, config, bundle)
    bind_run(folder, config, bundle, labels)


def test_a_run_may_be_made_longer(tmp_path: Path) -> None:
    start(tmp_path, CONFIG)
    begin(tmp_path)
    longer = replace(CONFIG, optimiser=replace(CONFIG.optimiser, steps=30), workers=3)
    start(tmp_path, longer)
    assert load_config(tmp_path / "config.toml") == longer


@pytest.mark.parametrize("other", [OTHER, replace(CONFIG, optimiser=replace(CONFIG.optimiser, kind="adam"))])
def test_a_run_keeps_its_network_and_its_kind_of_optimiser(other: TrainingConfig, tmp_path: Path) -> None:
    start(tmp_path, CONFIG)
    begin(tmp_path)
    with pytest.raises(UsageError, match=r"E83 .*kind of optimiser"):
        prepare_run(tmp_path, other)
    assert load_config(tmp_path / "config.toml") == CONFIG


def test_before_a_checkpoint_another_configuration_takes_the_place_of_the_first(tmp_path: Path) -> None:
    scene = tmp_path / "scenes/1_00000.npz"
    scene.parent.mkdir()
    start(tmp_path, CONFIG, labels={"picks": "old"})
    scene.touch()
    start(tmp_path, CONFIG)
    assert scene.exists()
    start(tmp_path, OTHER)
    assert not scene.exists()
    assert not (tmp_path / "labels.json").exists()
    assert load_config(tmp_path / "config.toml") == OTHER


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "scenes").mkdir()
    left = [folder / f".picker-999999999-{atomic._host()}-{'0' * 16}" for folder in (tmp_path, tmp_path / "scenes")]
    for path in left:
        path.touch()
    prepare_run(tmp_path, CONFIG)
    assert [path for path in left if path.exists()] == []


def test_a_run_goes_on_with_the_model_it_began_with_or_without_a_word_of_it(tmp_path: Path) -> None:
    start(tmp_path, CONFIG, model="shrec12")
    begin(tmp_path)
    start(tmp_path, CONFIG, model="shrec12")
    start(tmp_path, CONFIG)
    assert json.loads((tmp_path / "begun_with.json").read_text())["model"] == "shrec12"
    (tmp_path / "begun_with.json").write_text('{"model": "older"}')
    with pytest.raises(UsageError, match=r"E83 .*began with older, not with shrec12\. Fix: leave --from out"):
        prepare_run(tmp_path, CONFIG, Bundle.open("shrec12"))


def test_a_start_with_a_model_that_came_to_nothing_is_not_gone_on_with_without_it(tmp_path: Path) -> None:
    start(tmp_path, CONFIG, model="shrec12")
    with pytest.raises(UsageError, match=r"E83 .*is to begin with shrec12 .*give --from again"):
        prepare_run(tmp_path, CONFIG)
    start(tmp_path, CONFIG, model="shrec12")


@pytest.fixture
def own(tmp_path: Path) -> Labelled:
    """A tomogram of one's own with all of its balls picked."""
    data = labelled(tmp_path / "own")
    data.write(data.places)
    return data


def labels(own: Labelled, **changes: object) -> Labels:
    section = replace(own.section, diameters=("ball=60",), **changes)  # type: ignore[arg-type]
    config = replace(
        CONFIG, model=ModelSection(name="tiny", classes=("ball",)), data=DataSection(crop=24, halo=4), picks=section
    )
    return labels_of(config, open_data(Path("unused"), config, None, torch.device("cpu")).pool)


def test_labels_are_other_labels_when_a_pick_was_moved_renamed_or_left_out(own: Labelled) -> None:
    before = labels(own)
    own.write(own.places[::-1])
    assert labels(own) == before
    moved = own.places + np.where(np.arange(len(own.places)) == 7, 0.1, 0.0)[:, None]
    for places in (moved, own.places[1:]):
        own.write(places)
        assert labels(own)["picks"] != before["picks"]
    own.write(own.places)
    (own.picks / "one.csv").write_text((own.picks / "one.csv").read_text().replace("ball", "disc", 1))
    assert labels(own, background=("disc",))["picks"] != before["picks"]


def test_labels_are_others_when_the_ignore_mask_was_edited_but_not_when_another_tomogram_was_picked(
    own: Labelled, tmp_path: Path
) -> None:
    mask = np.zeros(SHAPE, np.int8)
    write_mrc(tmp_path / "one.mrc", mask, 10.0)
    before = labels(own, ignore_masks=(str(tmp_path / "one.mrc"),))
    with (own.picks / "one.csv").open("a") as stream:
        line = (own.picks / "one.csv").read_text().splitlines()[1]
        stream.write(line.replace("one", "other", 1) + "\n")
    assert labels(own, ignore_masks=(str(tmp_path / "one.mrc"),)) == before
    mask[0, 0, 0] = 1
    write_mrc(tmp_path / "one.mrc", mask, 10.0)
    assert labels(own, ignore_masks=(str(tmp_path / "one.mrc"),))["masks"] != before["masks"]


def test_labels_are_others_when_other_parts_are_learnt_from(own: Labelled) -> None:
    before, after = labels(own), labels(own, border=(0, 2, 2))
    assert before["picks"] == after["picks"]
    assert before["learnt"] != after["learnt"]


def test_a_run_keeps_the_labels_it_began_with(tmp_path: Path) -> None:
    start(tmp_path, CONFIG, labels={"picks": "old"})
    start(tmp_path, CONFIG, labels={"picks": "new"})
    begin(tmp_path)
    start(tmp_path, CONFIG, labels={"picks": "new"})
    with pytest.raises(UsageError, match=r"E83 .*picks or ignore masks.*-o OTHER, or put the old ones back"):
        start(tmp_path, CONFIG, labels={"picks": "newer"})
    (tmp_path / "labels.json").unlink()
    check_labels(tmp_path, {"picks": "newer"})  # a run of before they were noted
