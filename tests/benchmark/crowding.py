"""What crowding and noise cost a model: `bench12` with fewer particles in the same noise, and with other noise.

    python tests/benchmark/crowding.py --templates DIR [--model shrec12] [--precision fp32] [--snr 0.1 ...]

Scenes are of 200x256x256 voxels: two as crowded as `bench12`, four with a fifth of the particles. An SNR means the
noise that it means in the first crowded scene, so that a particle is as faint in all. Prints the figures of each scene
and their means by the rule `distance`, then F1 by class.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bench12 import measure

from picker_runtime.detector import Picker
from picker_training.simulation import find_preset
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

SHAPE = (200, 256, 256)
SCENES = {"crowded": (650, (9011, 9012)), "a fifth": (130, (9021, 9022, 9023, 9024))}
"""Particles and seeds of each kind of scene; the first seed of the first sets the noise."""

SNRS = (0.03, 0.1, 0.3, 1.0)
COLUMNS = ("f1", "class_f1", "centre_error")


def main() -> None:
    """Simulate, detect, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--snr", type=float, action="append")
    options = parser.parse_args()
    spec = replace(find_preset("bench12").spec, shape=SHAPE)
    templates = load_templates(options.templates, SHREC2020_CLASSES)
    variance = None
    with Picker(options.model, precision=options.precision) as picker:
        diameters = {c.name: c.diameter_angstrom for c in picker.card.classes}
        for kind, (particles, seeds) in SCENES.items():
            found: dict[float, list[dict[str, Any]]] = {snr: [] for snr in options.snr or SNRS}
            for seed in seeds:
                scene = simulate(replace(spec, particles=particles), templates, seed)
                variance = variance or scene.signal_variance
                for snr, rows in found.items():
                    tomogram = scene.tomogram(snr * scene.signal_variance / variance)
                    rows.append(measure(scene, picker.detect(tomogram, voxel_size=spec.voxel_size), diameters))
                    print(row(f"{kind} {seed} SNR {snr:g}", [rows[-1]]), flush=True)
            for snr, rows in found.items():
                by_class = {name: np.mean([r["by_class"].get(name) or 0.0 for r in rows]) for name in diameters}
                print(row(f"{kind} mean SNR {snr:g}", rows), *(f"{name} {f1:.2f}" for name, f1 in by_class.items()))


def row(label: str, found: list[dict[str, Any]]) -> str:
    """Return one line: the means of the figures."""
    return f"{label:>21} " + " ".join(f"{name} {np.mean([r[name] for r in found]):.3f}" for name in COLUMNS)


if __name__ == "__main__":
    main()
