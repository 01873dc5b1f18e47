"""Our detector's F1 against SNR, and per class against the particle's mass: two plots and their numbers.

    python tests/benchmark/snr_and_mass.py --templates DIR -o DIR [--model shrec12] [--seed 9001] [--snr 0.01 ...]
                                           [--mass-snr 0.03]

Scenes of `bench12` at seven SNRs from 0.01 to 0.5, at the thresholds that come with the model. Writes
`snr_and_mass.json`, `f1_against_snr.png` (localisation F1 and mean class F1 by the rules `distance` and `shrec2020`)
and `f1_against_mass.svg` (class F1 by `distance` at `--mass-snr`).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from bench12 import measure

from picker_runtime.detector import Picker
from picker_training.curves import Panel, draw
from picker_training.evaluation.plot import f1_against_mass
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

SNRS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
CURVES = {
    "f1": "localisation, distance",
    "official_f1": "localisation, shrec2020",
    "class_f1": "mean class F1, distance",
    "official_class_f1": "mean class F1, shrec2020",
}


def measured(model: str, templates: Path, seeds: list[int], snrs: list[float]) -> dict[float, list[dict[str, Any]]]:
    """Return the figures of every scene at every SNR."""
    classes = load_templates(templates, SHREC2020_CLASSES)
    results: dict[float, list[dict[str, Any]]] = {snr: [] for snr in snrs}
    with Picker(model) as picker:
        diameters = {c.name: c.diameter_angstrom for c in picker.card.classes}
        for seed in seeds:
            scene = simulate(PRESETS["bench12"].spec, classes, seed)
            for snr in snrs:
                detection = picker.detect(scene.tomogram(snr), voxel_size=scene.voxel_size)
                results[snr].append({"seed": seed} | measure(scene, detection, diameters))
                print(f"{seed} SNR {snr:g}: F1 {results[snr][-1]['f1']:.4f}", flush=True)
    return results


def means(results: dict[float, list[dict[str, Any]]]) -> dict[float, dict[str, Any]]:
    """Return the means over the scenes at each SNR; a class without right picks counts 0."""
    return {
        snr: {name: float(np.mean([r[name] or 0.0 for r in of_snr])) for name in CURVES}
        | {"by_class": {c: float(np.mean([r["by_class"].get(c) or 0.0 for r in of_snr])) for c in SHREC2020_CLASSES}}
        for snr, of_snr in results.items()
    }


def main() -> None:
    """Detect, score, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--mass-snr", type=float, default=0.03)
    options = parser.parse_args()
    seeds, snrs = options.seed or [9001], sorted({*(options.snr or SNRS), options.mass_snr})
    summary = means(measured(options.model, options.templates, seeds, snrs))
    options.output.mkdir(parents=True, exist_ok=True)
    record = {"model": options.model, "set": "bench12", "seeds": seeds, "snrs": {f"{s:g}": summary[s] for s in snrs}}
    (options.output / "snr_and_mass.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = {label: [(s, summary[s][name]) for s in snrs] for name, label in CURVES.items()}
    title = f"{options.model} on bench12"
    panel = Panel(curves=lines, title=title, x_label="SNR", y_label="F1", logarithmic=True, y_range=(0.0, 1.02))
    draw([panel], options.output / "f1_against_snr.png")
    mass_title = f"{title}, SNR {options.mass_snr:g}: class F1 against mass"
    mass_plot = f1_against_mass(summary[options.mass_snr]["by_class"], title=mass_title)
    (options.output / "f1_against_mass.svg").write_text(mass_plot)


if __name__ == "__main__":
    main()
