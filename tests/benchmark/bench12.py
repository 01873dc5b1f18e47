"""Accuracy on the fixed test sets `bench12` and `bench12-contaminated`, at the thresholds that come with a model.

    python tests/benchmark/bench12.py --templates DIR [--model shrec12] [--set bench12] [--seed 9001] [--snr 0.1]
                                      [--precision int8] [--json FILE]

Prints one row a tomogram and the mean over the seeds for each precision and SNR: localisation F1, mean class F1 and
sub-voxel error by the rule `distance`, localisation F1 and mean class F1 by the official SHREC 2020 rule, and, where
there are contaminants, the share of picks on gold, on membranes and on particles of the class that no model was trained
on.
"""

import argparse
import json
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from picker_runtime.detector import Detection, Picker
from picker_training.evaluation import distance, shrec
from picker_training.simulation import find_preset, truth_of
from picker_training.simulator.contaminants import GOLD, STRANGER, VESICLE
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.scene import Scene, simulate
from picker_training.simulator.templates import load_templates

COLUMNS = (
    "f1",
    "class_f1",
    "centre_error",
    "official_f1",
    "official_class_f1",
    "on_gold",
    "on_membranes",
    "on_strangers",
)


Results = dict[tuple[str, float], list[dict[str, Any]]]
"""Figures of each tomogram by precision and SNR."""

Summary = dict[str, dict[str, dict[str, Any]]]
"""Means by precision and SNR."""


def measure(scene: Scene, detection: Detection, diameters: dict[str, float]) -> dict[str, Any]:
    """Return the figures of one tomogram."""
    picks = detection.picks
    names = [detection.class_names[c] for c in picks.class_ids]
    truth = truth_of(scene)
    voxels = {name: value / scene.voxel_size for name, value in diameters.items()}
    by_distance = distance.score(picks.positions, names, picks.scores, truth, voxels)
    official = shrec.score_2020(
        pick_names=names, pick_positions=picks.positions, truth=truth, occupancy_mask=scene.occupancy
    )
    nearest = np.clip(np.rint(picks.positions).astype(int), 0, np.array(scene.occupancy.shape) - 1)
    on = scene.contaminants[tuple(nearest.T)]
    return {
        "picks": len(picks),
        "truths": len(truth),
        "f1": by_distance.f1,
        "class_f1": by_distance.mean_class_f1,
        "centre_error": by_distance.centre_error,
        "official_f1": official.f1,
        "official_class_f1": official.mean_class_f1,
        "on_gold": _share(on == GOLD),
        "on_membranes": _share(on == VESICLE),
        "on_strangers": _share(on == STRANGER),
        "by_class": by_distance.confusion.f1,
    }


def _share(picks: np.ndarray) -> float:
    return float(np.mean(picks)) if len(picks) else 0.0


def row(label: str, figures: dict[str, Any]) -> str:
    """Return one line of the table."""
    return f"{label:>21} " + " ".join(
        f"{math.nan if figures[name] is None else figures[name]:>9.4f}" for name in COLUMNS
    )


def main() -> None:
    """Simulate, detect, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--model", default="shrec12")
    parser.add_argument("--precision", action="append", help="of the graph; repeatable, on the same tomograms")
    parser.add_argument("--set", default="bench12")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    preset = find_preset(options.set)
    templates = load_templates(options.templates, SHREC2020_CLASSES)
    strangers = load_templates(options.templates, preset.strangers)
    snrs = options.snr or preset.snrs
    print(f"{options.set:>21} " + " ".join(f"{name[:9]:>9}" for name in COLUMNS))
    with ExitStack() as stack:
        pickers = {
            precision: stack.enter_context(Picker(options.model, precision=precision))
            for precision in options.precision or ["auto"]
        }
        results: Results = {(precision, snr): [] for precision in pickers for snr in snrs}
        diameters = {c.name: c.diameter_angstrom for c in next(iter(pickers.values())).card.classes}
        for seed in options.seed or preset.seeds:
            scene = simulate(preset.spec, templates, seed, strangers=strangers)
            for snr in snrs:
                tomogram = scene.tomogram(snr)
                for precision, picker in pickers.items():
                    started = time.perf_counter()
                    detection = picker.detect(tomogram, voxel_size=scene.voxel_size)
                    seconds = time.perf_counter() - started
                    figures = measure(scene, detection, diameters) | {"seed": seed, "seconds": seconds}
                    results[precision, snr].append(figures)
                    print(row(f"{seed} {precision} SNR {snr:g}", figures), f"{seconds:.1f} s", flush=True)
    summary = summarise(results, list(diameters))
    print_means(summary)
    if options.json:
        named = {options.set if p in ("auto", "fp32") else f"{options.set}-{p}": found for p, found in summary.items()}
        options.json.write_text(json.dumps(named, indent=2) + "\n")


def summarise(results: Results, classes: list[str]) -> Summary:
    """Return the means over the seeds by precision and SNR, None where no seed has a figure."""
    summary: Summary = {}
    for (precision, snr), rows in results.items():
        there = {name: [r[name] for r in rows if r.get(name) is not None] for name in (*COLUMNS, "seconds")}
        means: dict[str, Any] = {name: float(np.mean(v)) if v else None for name, v in there.items()}
        means["by_class"] = {name: float(np.mean([r["by_class"].get(name) or 0.0 for r in rows])) for name in classes}
        summary.setdefault(precision, {})[f"{snr:g}"] = means
    return summary


def print_means(summary: Summary) -> None:
    """Print one row for each of the means, with F1 by class."""
    for name, by_snr in summary.items():
        for snr_text, figures in by_snr.items():
            by_class = " ".join(f"{k} {v:.2f}" for k, v in figures["by_class"].items())
            print(row(f"mean {name} SNR {snr_text}", figures), by_class)


if __name__ == "__main__":
    main()
