"""Fidelity report: folders in SHREC layout measured beside the published figures, as a table and plots."""

import json
from collections.abc import Sequence
from pathlib import Path

from picker_runtime.atomic import check_writable_folder, write_text
from picker_runtime.tomogram import Tomogram
from picker_training.curves import PUBLISHED as PUBLISHED_CURVE
from picker_training.curves import Panel, draw
from picker_training.datasets.shrec import read_occupancy_mask, read_truth
from picker_training.datasets.training_volume import training_volume
from picker_training.simulation import RECORD
from picker_training.simulator.fidelity import (
    CORRELATION_STEPS,
    POWER_FREQUENCIES,
    PUBLISHED,
    Sample,
    autocorrelation,
    measure,
    radial_power,
    table,
)

STEPS = tuple(0.25 * i for i in range(25))


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Write `fidelity.md`, `power.png` and `autocorrelation.png`; return the first.

    Raises:
        InputError: E46 or an error of the tomogram, if a folder lacks what is measured.
        OutputError: E70 or E71.
    """
    check_writable_folder(output)
    figures, power, correlation = {}, {}, {}
    for folder in folders:
        sample = read_sample(folder)
        figures[sample.title] = measure(sample)
        power[sample.title] = list(zip(*radial_power(sample.tomogram), strict=True))
        for axis, letter in ((2, "x"), (1, "y")):
            values = autocorrelation(sample.tomogram, axis, STEPS)
            correlation[f"{sample.title} along {letter}"] = list(zip(STEPS, values, strict=True))
    power[f"{PUBLISHED_CURVE} 2021"] = [(k, _published(f"power at {k:.2f} cycles a voxel")) for k in POWER_FREQUENCIES]
    correlation[f"{PUBLISHED_CURVE} 2021, along x"] = [
        (s, _published(f"autocorrelation along x at {s} voxels")) for s in CORRELATION_STEPS
    ]
    title = "power of slices over its peak"
    draw([Panel(curves=power, title=title, x_label="cycles a voxel")], output / "power.png")
    draw([Panel(curves=correlation, title="autocorrelation", x_label="voxels")], output / "autocorrelation.png")
    write_text(output / "fidelity.md", table(figures))
    return output / "fidelity.md"


def read_sample(folder: Path) -> Sample:
    """Read what is measured of the slab that the truth covers.

    Masks that are not closed are preferred, and the SNR is the record's, if there is one.
    """
    truth = read_truth(folder)
    opened = "occupancy_mask_open"
    name = opened if any(folder.glob(f"{opened}.mrc*")) else "occupancy_mask"
    whole = training_volume(folder)
    with Tomogram.open(whole.path) as tomogram:
        voxels, voxel_size = tomogram.read(whole.slab), tomogram.voxel_size
    occupancy = read_occupancy_mask(folder, truth, name=name)
    stored = folder / RECORD
    record = json.loads(stored.read_text()) if stored.exists() else {}
    return Sample(
        name=folder.name,
        preset=record.get("preset", ""),
        tomogram=voxels,
        occupancy=occupancy[whole.slab.slices] if occupancy.shape == whole.shape else occupancy,
        names=truth.names,
        positions=truth.positions,
        voxel_size=voxel_size,
        snr=record.get("snr"),
    )


def _published(name: str) -> float:
    return float(PUBLISHED[name]["2021"])
