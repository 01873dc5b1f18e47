"""The command line `picker-training`; what its commands do stands in `commands`."""

import typer

from picker_runtime import console
from picker_training.commands.anchors import anchors
from picker_training.commands.baseline import baseline
from picker_training.commands.benchmark import benchmark
from picker_training.commands.evaluate import evaluate
from picker_training.commands.fit import fit
from picker_training.commands.lint import lint
from picker_training.commands.simulate import fidelity, simulate

app = typer.Typer(help="Simulate, train and evaluate.", add_completion=False)
for command in (simulate, fidelity, lint, anchors, fit, evaluate, baseline, benchmark):
    app.command()(command)


@app.callback(invoke_without_command=True)
def picker_training(context: typer.Context) -> None:
    """Simulate tomograms, train detectors and score picks."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def run(arguments: list[str]) -> int:
    """Run one command line; return the exit status."""
    return console.run(app, "picker-training", arguments)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    console.main(app, "picker-training")
