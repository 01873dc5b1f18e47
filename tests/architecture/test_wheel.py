"""The wheel: what is in it, and that it alone, in an empty environment, detects."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle, volume_with_blobs

from picker_runtime.mrc import write_mrc

ROOT = Path(__file__).parents[2]
SOURCES = ("runtime/picker_runtime", "training/picker_training", "export/picker_export")
LARGEST_FILE, LARGEST_WHEEL = 8_000_000, 25_000_000  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    [path] = folder.glob("*.whl")
    return path


def test_it_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {
        path.relative_to((ROOT / source).parent).as_posix()
        for source in SOURCES
        for path in (ROOT / source).rglob("*.py")
    }
    others = {"picker_runtime/engines/cut.cu", *(f"{Path(source).name}/py.typed" for source in SOURCES)}
    data = {name for name in names if not name.endswith(".py")} - others
    assert names - data == modules | others
    assert {
        name for name in data if not name.startswith(("picker_runtime/models/", "picker_runtime/samples/"))
    } == set()


def test_models_and_sample_are_in_it_as_in_the_checkout(wheel: Path) -> None:
    package = ROOT / "runtime/picker_runtime"
    expected = {
        f"picker_runtime/{path.relative_to(package).as_posix()}"
        for folder in ("models", "samples")
        for path in (package / folder).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {
            name
            for name in archive.namelist()
            if name.startswith(("picker_runtime/models/", "picker_runtime/samples/"))
        }
    assert found == expected


def test_it_has_its_licence_and_its_commands(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [folder] = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        metadata = archive.read(f"{folder}/METADATA").decode()
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert [line.split(" = ")[0] for line in commands.splitlines() if " = " in line] == [
        "picker-export", "picker-runtime", "picker-training",
    ]  # fmt: skip
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert sorted(line.split()[1].split(">")[0] for line in required) == ["numpy", "openvino", "typer"]


def test_it_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert max(entry.file_size for entry in archive.infolist()) <= LARGEST_FILE
    assert wheel.stat().st_size <= LARGEST_WHEEL


@pytest.mark.long
def test_alone_in_an_empty_environment_it_detects(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True, timeout=900)
    installed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    assert not {"torch", "onnx", "onnxruntime"} & {line.split("==")[0] for line in installed.splitlines()}
    model = golden_bundle(tmp_path / "golden")
    write_mrc(tmp_path / "one.mrc", volume_with_blobs((32, 40, 40), [(16, 20, 20)]), 10.0)
    command = [tmp_path / "venv/bin/picker-runtime", "detect", "one.mrc", "-o", "picks", "--model", model]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=120)
    assert (tmp_path / "picks/one.csv").read_text().count("\n") == 2
