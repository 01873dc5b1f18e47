"""The documents keep their word: links lead somewhere, commands and options exist."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from picker_runtime.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_to_files_lead_to_files(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text()) if "://" not in link]
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_readme_has_links() -> None:
    assert len(LINK.findall((ROOT / "README.md").read_text())) > 3


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", document.read_text())) <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_runtime_commands_and_their_options_exist(document: Path) -> None:
    lines = re.findall(r"^ *(?:\$ )?picker-runtime ([a-z]+)(.*)$", document.read_text(), re.MULTILINE)
    for command, rest in lines:
        result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0, command
        for option in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", rest):
            assert option in result.output, f"{command} {option}"


def test_the_exit_statuses_of_the_readme_are_those_of_the_errors_page() -> None:
    def statuses(path: Path) -> list[str]:
        return re.findall(r"^\| (\d+|130, 143) \|", path.read_text(), re.MULTILINE)

    assert statuses(ROOT / "README.md") == statuses(ROOT / "docs/errors.md")[: len(statuses(ROOT / "README.md"))]
    assert len(statuses(ROOT / "README.md")) == 8
