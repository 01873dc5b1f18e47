"""How hard our scenes are by the measure of template matching, beside what SHREC 2020 published for it.

    python tests/benchmark/template_matching.py --templates DIR -o DIR [--crop 128 256 256] [--seed 7101 ...]
                                                [--calibration-crop 128 128 256] [--calibration-seed 7102]
                                                [--snr 0.1 --snr 0.03 --snr 0.015 --snr 0.007] [--rotations 3000]
                                                [--class NAME ...] [--threads N] [--device auto]

Scenes have the optics and the crowding of `bench12`. They are scored at thresholds that were chosen on the smaller
scene of another seed, SNR by SNR. Writes `template_matching.json` and prints per-class F1 by the rules `distance` and
`shrec2020` at each SNR, and the SNR at which the localisation F1 by `shrec2020` is TM-F's 0.841, between the levels
linear in the logarithm of the SNR. Its uncertainty: a bootstrap over particles and false picks or, if it is larger, the
spread over several scenes. The peaks of each class and scene are kept as they are found: the same call goes on.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training")]

from picker_runtime.geometry import Triple  # noqa: E402
from picker_training.baselines.correlation import Mixtures  # noqa: E402
from picker_training.baselines.peaks import Peaks  # noqa: E402
from picker_training.baselines.selection import Known, candidates_of, pick_at, tune_thresholds  # noqa: E402
from picker_training.baselines.template_matching import Matching, match_templates  # noqa: E402
from picker_training.device import choose_device, has_bfloat16  # noqa: E402
from picker_training.evaluation import distance  # noqa: E402
from picker_training.evaluation.shrec2020 import score_2020  # noqa: E402
from picker_training.simulation import truth_of  # noqa: E402
from picker_training.simulator.presets import PRESETS, SHREC2020_CLASSES  # noqa: E402
from picker_training.simulator.scene import Scene, SceneSpec, simulate  # noqa: E402
from picker_training.simulator.templates import Template, load_templates  # noqa: E402

PUBLISHED_F1 = 0.841
"""Localisation F1 of the baseline TM-F on the test tomogram of SHREC 2020 (precision 0.870, recall 0.814)."""

SNRS = (0.1, 0.03, 0.015, 0.007)
SEEDS = (7101,)
CROP = (128, 256, 256)
CALIBRATION_SEED = 7102
CALIBRATION_CROP = (128, 128, 256)
BOOTSTRAPS = 2000
RULES = ("shrec2020", "distance")


def crop_spec(shape: Triple) -> SceneSpec:
    """Return `bench12` in another shape, with as many particles for its size."""
    spec = PRESETS["bench12"].spec
    return replace(spec, shape=shape, particles=round(spec.particles * math.prod(shape) / math.prod(spec.shape)))


def noise_levels(scene: Scene, snrs: Sequence[float]) -> Mixtures:
    """Return the scene's tomograms at these SNRs."""
    weights = [[1.0, (scene.signal_variance / snr) ** 0.5] for snr in snrs]
    return Mixtures(parts=torch.stack([scene.signal, scene.noise]), weights=torch.tensor(weights))


def known(scene: Scene, peaks: Sequence[Peaks], templates: Sequence[Template]) -> Known:
    """Return a scene's candidates with its truth; particles of classes that are not matched are left out."""
    numbers = {template.name: number for number, template in enumerate(templates)}
    truth = truth_of(scene)
    mine = [i for i, name in enumerate(truth.names) if name in numbers]
    return Known(
        candidates=candidates_of(peaks, [template.diameter_angstrom for template in templates]),
        positions=truth.positions[mine],
        class_ids=np.array([numbers[truth.names[i]] for i in mine], np.intp),
    )


def match_scene(
    spec: SceneSpec,
    seed: int,
    *,
    everyone: list[Template],
    templates: list[Template],
    snrs: Sequence[float],
    matching: Matching,
    folder: Path,
    device: torch.device,
) -> tuple[Scene, list[Known]]:
    """Simulate a scene and match it; return it with its candidates and truth at each SNR."""
    scene = simulate(spec, everyone, seed)
    started = time.perf_counter()

    def say(name: str, done: int, total: int) -> None:
        print(f"scene {seed} {name}: block {done} of {total}, {time.perf_counter() - started:.0f} s", file=sys.stderr)

    peaks = match_templates(
        noise_levels(scene, snrs), templates, spec.voxel_size, matching,
        folder=folder / f"peaks_{seed}", device=device, progress=say,
    )  # fmt: skip
    return scene, [known(scene, of_level, templates) for of_level in peaks]


def score(scene: Scene, own: Known, calibration: Known, templates: Sequence[Template]) -> dict[str, Any]:
    """Return the figures of one scene at the thresholds that suit the calibration scene."""
    diameters = {template.name: template.diameter_angstrom for template in templates}
    thresholds = tune_thresholds([calibration], np.array(list(diameters.values())), scene.voxel_size)
    picks = pick_at(own.candidates, thresholds, scene.voxel_size)
    names = [templates[c].name for c in picks.class_ids]
    truth = truth_of(scene)
    by_distance = distance.score(
        picks.positions,
        names,
        picks.scores,
        truth,
        {name: diameters.get(name, 0.0) / scene.voxel_size for name in SHREC2020_CLASSES},
    )
    official = score_2020(pick_names=names, pick_positions=picks.positions, truth=truth, occupancy_mask=scene.occupancy)
    return {
        "thresholds": dict(zip(diameters, thresholds.tolist(), strict=True)),
        "shrec2020": official.to_json(),
        "distance": by_distance.to_json(),
        "counts": [official.truths, official.tp, official.picks],
    }


def matching_snr(snrs: Sequence[float], f1: Sequence[float], published: float = PUBLISHED_F1) -> float | None:
    """Return the SNR at which the F1 is the published one, linear in log SNR; None beyond the levels."""
    levels = sorted(zip(np.log(snrs), f1, strict=True))
    for (low, below), (high, above) in pairwise(levels):
        if below < published <= above:
            return float(np.exp(low + (high - low) * (published - below) / (above - below)))
    return None


def bootstrap(snrs: Sequence[float], counts: np.ndarray) -> tuple[float, int]:
    """Return the deviation of log SNR (matching) when particles and false picks are drawn anew, and the draws used.

    counts: `(scenes, snrs, 3)`: particles, those found, picks. Found ones are binomial, false picks Poisson.
    """
    rng = np.random.default_rng(0)
    truths, found, picks = counts.sum(axis=0).T
    logarithms = []
    for _ in range(BOOTSTRAPS):
        hits = rng.binomial(truths, found / truths)
        false = rng.poisson(picks - found)
        snr = matching_snr(snrs, 2 * hits / (truths + hits + false))
        if snr is not None:
            logarithms.append(math.log(snr))
    return float(np.std(logarithms)) if logarithms else math.nan, len(logarithms)


def difficulty(snrs: Sequence[float], results: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Return the matching SNR with its uncertainty; results: `[scene][snr]`."""
    curves = np.array([[level["shrec2020"]["f1"] for level in scene] for scene in results])
    centre = matching_snr(snrs, curves.mean(axis=0).tolist())
    each = [matching_snr(snrs, curve.tolist()) for curve in curves]
    drawn, used = bootstrap(snrs, np.array([[level["counts"] for level in scene] for scene in results]))
    spread = None
    if len(each) > 1 and None not in each:
        spread = float(np.std(np.log(np.array(each, float)), ddof=1) / math.sqrt(len(each)))
    relative = max(drawn, spread or 0.0)
    return {
        "snr": centre,
        "relative_uncertainty": relative,
        "snr_by_scene": each,
        "spread_over_scenes": spread,
        "bootstrap": drawn,
        "bootstrap_draws_within_levels": used,
    }


def table(snrs: Sequence[float], results: Sequence[Sequence[dict[str, Any]]], names: Sequence[str]) -> str:
    """Return the table: one row a rule and SNR, means over the scenes."""
    rows = [
        f"{'rule':>10} {'SNR':>6} {'prec.':>6} {'recall':>6} {'F1':>6} {'class':>6} "
        + " ".join(f"{n:>5}" for n in names)
    ]
    for rule in RULES:
        for i, snr in enumerate(snrs):
            levels = [scene[i][rule] for scene in results]
            means = [
                np.mean([level[key] or 0.0 for level in levels])
                for key in ("precision", "recall", "f1", "mean_class_f1")
            ]
            by_class = [np.mean([level["class_f1"].get(name) or 0.0 for level in levels]) for name in names]
            rows.append(
                f"{rule:>10} {snr:>6g} "
                + " ".join(f"{m:>6.3f}" for m in means)
                + " "
                + " ".join(f"{f:>5.2f}" for f in by_class)
            )
    rows.append(
        f"{'TM-F':>10} {'?':>6} {0.870:>6.3f} {0.814:>6.3f} {PUBLISHED_F1:>6.3f}   published: SHREC 2020's own tomogram"
    )
    return "\n".join(rows)


def options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--crop", type=int, nargs=3, default=CROP)
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--calibration-crop", type=int, nargs=3, default=CALIBRATION_CROP)
    parser.add_argument("--calibration-seed", type=int, default=CALIBRATION_SEED)
    parser.add_argument("--rotations", type=int, default=3000)
    parser.add_argument("--energy", type=float, default=0.99)
    parser.add_argument("--class", dest="classes", action="append")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="auto")
    return parser.parse_args()


def main() -> None:
    """Simulate, match, score and write."""
    given = options()
    device = choose_device(given.device, given.threads)
    snrs, seeds = given.snr or SNRS, given.seed or SEEDS
    everyone = load_templates(given.templates, SHREC2020_CLASSES)
    templates = [template for template in everyone if template.name in (given.classes or SHREC2020_CLASSES)]
    spec = crop_spec(tuple(given.crop))
    matching = Matching(
        microscope=spec.microscope, rotations=given.rotations, energy=given.energy, half_precision=has_bfloat16(device)
    )
    search = partial(
        match_scene, everyone=everyone, templates=templates, snrs=snrs, matching=matching, folder=given.output,
        device=device,
    )  # fmt: skip
    searched = [search(spec, seed) for seed in seeds]
    scenes = [scene for scene, _ in searched]
    _, calibration = search(crop_spec(tuple(given.calibration_crop)), given.calibration_seed)
    results = [
        [score(scene, own, other, templates) for own, other in zip(known_ones, calibration, strict=True)]
        for scene, known_ones in searched
    ]
    found = difficulty(snrs, results)
    summary = {
        "crop": list(given.crop), "seeds": list(seeds), "snrs": list(snrs),
        "calibration_crop": list(given.calibration_crop), "calibration_seed": given.calibration_seed,
        "particles": [len(scene.placements) for scene in scenes],
        "matching": asdict(matching), "classes": [t.name for t in templates], "matching_snr": found, "results": results,
    }  # fmt: skip
    (given.output / "template_matching.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(table(snrs, results, [t.name for t in templates]))
    print(f"localisation F1 {PUBLISHED_F1} at SNR {found['snr']}, relative {found['relative_uncertainty']:.2f}")


if __name__ == "__main__":
    main()
