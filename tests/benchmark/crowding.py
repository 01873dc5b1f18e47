"""What crowding and noise cost a model: `bench12` with fewer particles in the same noise, and with other noise.

    python tests/benchmark/crowding.py --templates DIR [--model shrec12] [--precision fp32] [--snr 0.1 ...]

Scenes are of 200x256x256 voxels: two as crowded as `bench12`, four with a fifth of the particles. An SNR means the
noise that it means in the first crowded scene, so that a particle is as faint in all. Prints the columns of
`bench12.py` for each scene, their means, and F1 by class.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from bench12 import Results, measure, print_means, row, summarise

from picker_runtime.detector import Picker
from picker_training.simulation import find_preset
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

SHAPE = (200, 256, 256)
SCENES = {"crowded": (650, (9011, 9012)), "a fifth": (130, (9021, 9022, 9023, 9024))}
"""Particles and seeds of each kind of scene; the first seed of the first sets the noise."""

SNRS = (0.03, 0.1, 0.3, 1.0)


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
    snrs = options.snr or SNRS
    results: Results = {(kind, snr): [] for kind in SCENES for snr in snrs}
    variance = None
    with Picker(options.model, precision=options.precision) as picker:
        diameters = {c.name: c.diameter_angstrom for c in picker.card.classes}
        for kind, (particles, seeds) in SCENES.items():
            for seed in seeds:
                scene = simulate(replace(spec, particles=particles), templates, seed)
                variance = variance or scene.signal_variance
                for snr in snrs:
                    tomogram = scene.tomogram(snr * scene.signal_variance / variance)
                    figures = measure(scene, picker.detect(tomogram, voxel_size=spec.voxel_size), diameters)
                    results[kind, snr].append(figures)
                    print(row(f"{kind} {seed} SNR {snr:g}", figures), flush=True)
    print_means(summarise(results, list(diameters)))


if __name__ == "__main__":
    main()
