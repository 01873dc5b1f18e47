"""Real tomograms of several programs, as their files are: refused with the reason, or read. Skipped where absent."""

import json
import os
from pathlib import Path

import pytest
from integration.command_line import contents, picker

from picker_runtime.bundle import known_models

SHARED = Path(os.environ.get("PICKER_SHARED") or Path(__file__).parents[2] / "../shared")
FOLDER = SHARED / "real/tomograms"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the folder of real tomograms (PICKER_SHARED)")

REFUSED = {
    "13pf_MT.mrc": (30, "10.52"),
    "14pf_MT.mrc": (30, "10.52"),
    "tardis_mrc3D_int8.mrc": (30, "23.2"),
    "visfd_test_blob_detect.rec": (30, "19."),
    "visfd_test_image_membrane.rec": (30, "19."),
    "13pf_MT.tif": (11, "TIFF"),
    "14pf_MT.tif": (11, "TIFF"),
    "tardis_3_0_25_54_25.tif": (11, "TIFF"),
    "tardis_3_0_25_54_25_mask.tif": (11, "TIFF"),
    "boxmanager_sim_crop.mrc.gz": (11, "gzip"),
}
READ = [name for name in REFUSED if name.endswith((".mrc", ".rec"))]


@pytest.mark.parametrize("name", REFUSED)
def test_as_they_are_they_are_refused_with_the_reason(name: str, tmp_path: Path, golden_model: Path) -> None:
    code, reason = REFUSED[name]
    outcome = picker("detect", FOLDER / name, "-o", tmp_path, "--model", golden_model)
    assert outcome.status == 3
    [complaint] = outcome.complaints
    assert complaint.startswith(f"picker: E{code} {name}: ")
    assert reason in complaint
    assert contents(tmp_path) == {}


def test_every_file_has_its_row_here() -> None:
    assert {path.name for path in FOLDER.iterdir() if not path.name.startswith("LICENSE")} == set(REFUSED)


@pytest.mark.parametrize("name", READ)
def test_with_a_voxel_size_they_are_read_through_reflection(name: str, tmp_path: Path, golden_model: Path) -> None:
    options = ["--voxel-size", 10, "--model", golden_model, "--json"]
    outcome = picker("detect", FOLDER / name, "-o", tmp_path, *options)
    assert outcome.status == 0
    record = json.loads(outcome.stdout)
    assert record["tomogram"]["voxel_size_angstrom"] == 10
    assert any("--voxel-size 10" in warning for warning in record["warnings"])


@pytest.mark.skipif("shrec12" not in known_models(), reason="needs the bundled model")
@pytest.mark.parametrize("name", ["13pf_MT.mrc", "14pf_MT.mrc"])
def test_bright_microtubules_get_the_polarity_warning(name: str, tmp_path: Path) -> None:
    outcome = picker("detect", FOLDER / name, "-o", tmp_path, "--voxel-size", 10)
    assert outcome.status == 0
    assert "--invert" in outcome.stderr
