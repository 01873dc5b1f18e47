"""A campaign: the entries of a benchmark one after the other, then the table of all that are done."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from picker_runtime.atomic import write_text
from picker_training.benchmarking.entries import ENTRIES, UNTRAINED
from picker_training.benchmarking.method import Work
from picker_training.benchmarking.protocol import Protocol
from picker_training.benchmarking.running import entry_folder, read_result, run_entry
from picker_training.benchmarking.scenes import prepare_scenes
from picker_training.benchmarking.table import render, to_json

TABLE, JSON = "benchmark.md", "benchmark.json"


def run_campaign(
    protocol: Protocol,
    entries: Sequence[str],
    templates: Path,
    output: Path,
    *,
    data: Path,
    minutes: float | None,
    device: torch.device,
    report: Callable[[str], None],
) -> str:
    """Run entries and return the table of every entry that is done, which is written too.

    minutes: of training, in place of the protocol's.

    Raises:
        UsageError: E80 if an entry was begun with other minutes; E84 if a class has no template.
    """
    scenes = prepare_scenes(protocol, data, templates, device, report)
    for name in entries:
        for seed in seeds_of(protocol, name):
            folder = entry_folder(output / protocol.name, name, seed)
            work = Work(
                scenes=scenes, folder=folder, device=device, report=report,
                seed=protocol.seeds[0] if seed is None else seed,
                minutes=protocol.minutes if minutes is None else minutes,
            )  # fmt: skip
            run_entry(name, ENTRIES[name](work, templates))
    results = {
        (name, seed): read_result(entry_folder(output / protocol.name, name, seed), protocol)
        for name in ENTRIES
        for seed in seeds_of(protocol, name)
    }
    text = render(protocol, results)
    write_text(output / protocol.name / TABLE, text + "\n")
    write_text(output / protocol.name / JSON, json.dumps(to_json(protocol, results), indent=1) + "\n")
    return text


def seeds_of(protocol: Protocol, entry: str) -> tuple[int | None, ...]:
    """Return the seeds that an entry is run with; one row without a seed if it learns nothing."""
    return (None,) if entry in UNTRAINED else protocol.seeds
