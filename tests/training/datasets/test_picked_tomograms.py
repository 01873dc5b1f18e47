"""One's own tomograms as training sees them: what is learnt where, what is held back, what the configuration needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.labelled import SHAPE, Labelled, labelled

from picker_runtime.engines.base import Candidates, FakeEngine
from picker_runtime.errors import InputError, PickerError, UsageError
from picker_runtime.geometry import Box
from picker_runtime.mrc import write_mrc
from picker_training.augmentation import Augmentation, draw_start, make_sample
from picker_training.calibration import candidates_of
from picker_training.config import TrainingConfig
from picker_training.datasets import picked_tomograms
from picker_training.datasets.picks import read_annotations
from picker_training.model_card import draft_card
from picker_training.picks_section import PicksSection
from picker_training.simulator.presets import SHREC2020_CLASSES

PLAIN = Augmentation(crop=24, halo=4, turn_probability=0.0, int8_probability=0.0, half_turns=False, mirror=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    return labelled(tmp_path_factory.mktemp("picked"), names=("one", "two"))


@pytest.fixture
def data(folder: Labelled, tmp_path: Path) -> Labelled:
    (tmp_path / "picks").mkdir()
    return replace(folder, picks=tmp_path / "picks")


def completed(section: PicksSection, classes: tuple[str, ...] = ("ball",)) -> PicksSection:
    annotations = read_annotations(section)
    diameters = picked_tomograms.known_diameters(annotations, section)
    return picked_tomograms.complete(section, annotations, classes, diameters)


def both(data: Labelled) -> PicksSection:
    for name in ("one", "two"):
        data.write(data.places, name=name, tomogram=name)
    return data.section


def test_the_last_tomogram_validates_unless_another_is_named(data: Labelled) -> None:
    section = both(data)
    assert completed(section).validation == "two"
    named = completed(replace(section, validation="one"))
    training, validation = picked_tomograms.open_tomograms(named, ("ball",), halo=4)
    assert ([t.path.name for t in training], validation.path.name) == (["two.mrc"], "one.mrc")
    with pytest.raises(UsageError, match="one, two"):
        completed(replace(section, validation="three"))


def test_a_run_does_not_change_its_tomograms_silently(data: Labelled) -> None:
    section = completed(both(data))
    (data.picks / "two.csv").unlink()
    with pytest.raises(InputError, match=r"two\.csv"):
        picked_tomograms.open_tomograms(section, ("ball",), halo=4)
    section = replace(section, files=(str(data.picks / "one.csv"),))
    training, _ = picked_tomograms.open_tomograms(replace(section, validation=""), ("ball",), halo=4)
    assert len(training) == 1


def test_diameters_are_those_stated_then_listed_then_the_models(data: Labelled) -> None:
    data.write(data.places)
    data.write(data.places, form="coords")
    annotations = read_annotations(data.section)
    section = replace(data.section, diameters=("ball=77",))
    of_model = {"ball": 50.0, "3j9i": 120.0}
    assert picked_tomograms.known_diameters(annotations, section, of_model)["ball"] == 77.0
    assert picked_tomograms.known_diameters(annotations, data.section, of_model) == {"ball": 60.0, "3j9i": 120.0}


def test_a_class_without_diameter_is_refused_with_the_option(data: Labelled) -> None:
    data.write(data.places, form="coords")
    with pytest.raises(UsageError, match="--diameter ball=ANGSTROM"):
        completed(data.section)


def test_background_and_ignored_are_no_classes(data: Labelled) -> None:
    (data.picks / "one.txt").write_text("a 9 20 30\nb 9 5 6\nc 7 8 9\nd 70 50 30\na 70 9 9\n")
    section = replace(data.section, background=("b",), ignored=("c",))
    annotations = read_annotations(section)
    assert picked_tomograms.class_names(annotations, section) == ("a", "d")
    assert picked_tomograms.class_names(annotations, section, order=("d", "x")) == ("d", "a")
    stated = replace(section, diameters=("a=50", "d=50", "c=80"))
    training, block = picked_tomograms.open_tomograms(stated, ("a",), halo=0)
    together = [*training, block]
    assert [t.tolist() for t in (training[0].distractors, block.distractors)] == [[[6.0, 5.0, 9.0]]] * 2
    assert [len(t.class_ids) for t in together] == [1, 2]
    assert all(np.allclose(t.ignored, [[9.0, 8.0, 7.0, 4.0]]) for t in together)


def test_picks_on_what_is_ignored_are_not_judged(data: Labelled) -> None:
    both(data)
    (data.picks / "two.txt").write_text("ice 30 20 12\n")
    section = completed(replace(data.section, ignored=("ice",), diameters=("ice=100",)))
    _, judge = picked_tomograms.open_tomograms(section, ("ball",), halo=0)
    volume = judge.volume(Box((4, 0, 0), SHAPE))
    places = np.array([[8.0, 20.0, 30.0], [8.0, 20.0, 34.9], [8.0, 20.0, 35.6], [2.4, 20.0, 30.0], [13.6, 20.0, 30.0]])
    assert volume.judges(places).tolist() == [False, False, True, True, True]
    z, y, x = (np.arange(n) for n in volume.volume.shape)
    distance = (z[:, None, None] - 8) ** 2 + (y[:, None] - 20) ** 2 + (x - 30) ** 2
    assert np.array_equal(volume.unknown, distance <= 25)


def test_a_block_is_as_bright_as_its_whole_tomogram(data: Labelled) -> None:
    """So that thresholds are chosen on what detection sees, whatever the block holds."""
    section = completed(both(data))
    for invert in (False, True):
        _, judge = picked_tomograms.open_tomograms(replace(section, invert=invert), ("ball",), halo=0)
        volume = judge.volume(Box((0, 0, 0), (40, 56, 20)))
        sign = -1 if invert else 1
        assert volume.intensity == replace(judge.intensity, center=sign * judge.intensity.center)
        seen: list[np.ndarray] = []

        def look(cube: np.ndarray, seen: list[np.ndarray] = seen) -> Candidates:
            seen.append(cube)
            return Candidates.empty()

        with FakeEngine(look) as engine:
            candidates_of(engine, draft_card(TrainingConfig(), dict.fromkeys(SHREC2020_CLASSES, 100.0)), volume)
        wanted = sign * (judge.volume(judge.known).volume * sign - judge.intensity.center) / judge.intensity.scale
        assert seen[0].max() == pytest.approx(wanted[:, :, :20].max(), rel=1e-5)


def test_a_class_in_the_judging_tomogram_alone_cannot_be_learnt(data: Labelled) -> None:
    both(data)
    (data.picks / "two.txt").write_text("ring 30 20 12\n")
    section = completed(replace(data.section, diameters=("ring=100",)), ("ball", "ring"))
    with pytest.raises(UsageError, match=r"E84 ring: has picks in two alone.*--validation"):
        picked_tomograms.open_tomograms(section, ("ball", "ring"), halo=0)
    picked_tomograms.open_tomograms(replace(section, validation="one"), ("ball", "ring"), halo=0)


def test_bytes_are_read_as_the_section_says(data: Labelled, tmp_path: Path) -> None:
    (tmp_path / "bytes").mkdir()
    for name in ("one", "two"):
        values = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
        write_mrc(tmp_path / f"bytes/{name}.mrc", values.view(np.int8), 10.0)
    section = replace(both(data), tomograms=str(tmp_path / "bytes"))
    for mode0, least in (("signed", -128), ("unsigned", 0)):
        (tomogram,), judge = picked_tomograms.open_tomograms(
            completed(replace(section, mode0=mode0)), ("ball",), halo=0
        )
        assert judge.volume(judge.known).volume.min() == least
        assert tomogram.intensity.center == pytest.approx(least + 128, abs=3)
        sample = tomogram.cut(PLAIN, np.random.default_rng(0))
        assert np.abs(sample.cube).max() < 1.9  # evenly spread bytes, in robust deviations


def test_distractors_are_seen_as_often_as_a_class(data: Labelled) -> None:
    both(data)
    (data.picks / "one.txt").write_text("carbon 12 12 12\n")
    section = completed(replace(data.section, background=("carbon",)))
    (tomogram,), _ = picked_tomograms.open_tomograms(section, ("ball",), halo=4)
    rng = np.random.default_rng(0)
    crops = replace(PLAIN, crop=16)
    starts = np.array([draw_start(tomogram.known, tomogram._centre(crops, rng), crops, rng) for _ in range(100)])
    near = np.all((starts <= 12) & (starts + 16 > 12), axis=1)
    assert near.sum() >= 18


def test_particles_are_dark_after_inversion(data: Labelled, tmp_path: Path) -> None:
    section = completed(both(data))
    (dark,), held = picked_tomograms.open_tomograms(section, ("ball",), halo=4)
    (turned,), held_turned = picked_tomograms.open_tomograms(replace(section, invert=True), ("ball",), halo=4)
    samples = [make_sample(t, PLAIN, np.random.default_rng(1)) for t in (dark, turned)]
    assert np.allclose(samples[0].cube, -samples[1].cube, atol=1e-6)
    assert np.array_equal(held.volume(held.known).volume, -held_turned.volume(held_turned.known).volume)


def test_nothing_is_learnt_in_a_mask_or_beyond_the_border(data: Labelled, tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, np.int8)
    mask[:, :, 40:] = 1
    write_mrc(tmp_path / "one_ignore.mrc", mask, 10.0)
    section = replace(completed(both(data)), ignore_masks=(str(tmp_path / "one_ignore.mrc"),), border=(10, 0, 0))
    (tomogram,), validation = picked_tomograms.open_tomograms(section, ("ball",), halo=4)
    expected = mask.astype(bool)
    expected[:10], expected[30:] = True, True
    assert tomogram.known == Box((10, 0, 0), (30, *SHAPE[1:]))
    whole = Box.whole(SHAPE)
    assert np.array_equal(tomogram._unknown(whole, margin=0), expected)
    samples = [tomogram.cut(PLAIN, np.random.default_rng(seed)) for seed in range(20)]
    shares = np.array([np.mean(sample.unknown) for sample in samples])
    assert shares.min() > 0
    assert np.sum(shares < 0.8) >= 18  # crops that show next to nothing are drawn again
    judged = replace(tomogram, known=whole).volume(whole)
    assert len(judged.positions) == np.sum(data.places[:, 2] < 39.5)
    assert validation.unlabelled is None


def test_a_mask_of_another_shape_or_tomogram_is_refused(data: Labelled, tmp_path: Path) -> None:
    section = completed(both(data))
    for name, code in (("one.mrc", "E45"), ("three.mrc", "E80")):
        write_mrc(tmp_path / name, np.zeros((20, 20, 20), np.int8), 10.0)
        with pytest.raises(PickerError, match=code):
            masked = replace(section, ignore_masks=(str(tmp_path / name),))
            picked_tomograms.open_tomograms(masked, ("ball",), halo=4)


def test_a_mask_is_that_of_the_tomogram_it_is_called_after(tmp_path: Path) -> None:
    for name in ("a.mrc", "a_2.mrc", "a_gold.mrc", "b_gold.mrc", "b_membrane.mrc"):
        (tmp_path / name).touch()
    folder, gold = PicksSection(ignore_masks=(str(tmp_path),)), str(tmp_path / "b_gold.mrc")
    assert picked_tomograms.ignore_masks(folder, ["a"], others=["a", "b"]) == {"a": tmp_path / "a.mrc"}
    assert picked_tomograms.ignore_masks(PicksSection(ignore_masks=(gold,)), ["b"]) == {"b": tmp_path / "b_gold.mrc"}
    others = ["a", "a_2", "c"]
    with pytest.raises(UsageError, match=r"E80 --ignore-mask a_2\.mrc"):
        picked_tomograms.ignore_masks(PicksSection(ignore_masks=(str(tmp_path / "a_2.mrc"),)), ["a"], others=others)
    with pytest.raises(UsageError, match=r"E81 --ignore-mask b_membrane\.mrc: and b_gold\.mrc are both masks of b"):
        picked_tomograms.ignore_masks(folder, ["b", "c"])


def test_a_border_that_leaves_nothing_is_refused(data: Labelled) -> None:
    section = replace(completed(both(data)), border=(13, 0, 0))
    with pytest.raises(UsageError, match="--border"):
        picked_tomograms.open_tomograms(section, ("ball",), halo=4)
