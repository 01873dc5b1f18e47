"""Grouped options: a command's dataclass is given field by field on the command line."""

from dataclasses import dataclass
from typing import Annotated

import typer

from picker_runtime.console import run
from picker_training.commands.grouped import takes

SEEN: list[object] = []


@dataclass(frozen=True, kw_only=True)
class Size:
    width: Annotated[int, typer.Option(min=1)] = 3
    name: Annotated[list[str] | None, typer.Option("--called")] = None


def app() -> typer.Typer:
    application = typer.Typer()

    @application.command()
    @takes("size", Size)
    def show(size: Size, label: Annotated[str, typer.Option()], loud: bool = False) -> int:
        """Show."""
        SEEN.append((size, label, loud))
        return 5

    return application


def test_fields_are_options_beside_the_commands_own() -> None:
    assert run(app(), "show", ["--label", "a", "--called", "x", "--called", "y", "--loud"]) == 5
    assert SEEN.pop() == (Size(width=3, name=["x", "y"]), "a", True)


def test_their_limits_hold() -> None:
    assert run(app(), "show", ["--label", "a", "--width", "0"]) == 2
    assert run(app(), "show", ["--width", "2"]) == 2
