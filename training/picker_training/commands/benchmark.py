"""The command `benchmark`."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def benchmark(
    templates: Annotated[Path, typer.Option(metavar="DIR", help="Density maps or atomic models of the classes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Results; the same call goes on.")],
    protocol: Annotated[str, typer.Option(help="small (CPU) or full (GPU).")] = "small",
    detector: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="An entry to run; repeatable. Default: all.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Of training, in place of the protocol's.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the scenes lie or go. Default: OUTPUT/scenes.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Train, tune and test detectors and baselines on the same scenes; print one table."""
    from picker_training.benchmarking.campaign import run_campaign
    from picker_training.benchmarking.entries import check_entries
    from picker_training.benchmarking.protocol import find_protocol
    from picker_training.device import choose_device

    chosen, entries = find_protocol(protocol), check_entries(detector or [])
    target = choose_device(device, threads)
    text = run_campaign(
        chosen, entries, templates, output,
        data=data or output / "scenes", minutes=minutes, device=target, report=_print_line,
    )  # fmt: skip
    print(text)


def _print_line(message: str) -> None:
    print(message, file=sys.stderr)
