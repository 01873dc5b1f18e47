"""The SNR at which trained networks find in our scenes what networks like them are reported to find in SHREC 2020's.

    picker-training benchmark --protocol small --templates DIR -o BENCH --detector unet --detector paper
    python tests/benchmark/difficulty.py --templates DIR --benchmark BENCH -o OUT [--entry unet ...] [--snr 0.1 ...]

Takes the weights that the benchmark has trained, and nothing is trained again: at every SNR thresholds are chosen on
the protocol's calibration scene and its test scene is scored, by the rule `shrec2020`. Beside each published F1 stands
the SNR at which ours is the same, linear in log SNR between the two measured. Writes OUT/difficulty.json and
OUT/difficulty.md.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from benchmark.template_matching import matching_snr  # noqa: E402

from picker_training.benchmarking.entries import ENTRIES  # noqa: E402
from picker_training.benchmarking.learned import CONFIG, SPENT, read_spent  # noqa: E402
from picker_training.benchmarking.method import Work  # noqa: E402
from picker_training.benchmarking.protocol import Difficulty, Protocol, find_protocol  # noqa: E402
from picker_training.benchmarking.running import Result, entry_folder, run_entry  # noqa: E402
from picker_training.benchmarking.scenes import BenchmarkScenes, prepare_scenes  # noqa: E402
from picker_training.checkpoint import FILE  # noqa: E402
from picker_training.device import choose_device  # noqa: E402
from picker_training.evaluation.rules import Rule  # noqa: E402

SNRS = (0.1, 0.03, 0.015, 0.007, 0.003)
FIGURES = {"f1": "localisation F1", "mean_class_f1": "mean class F1"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a network is reported to reach on the test tomogram of SHREC 2020."""

    name: str
    f1: float
    mean_class_f1: float


AUTHORS = Published(name="its authors, by their own rule", f1=0.952, mean_class_f1=0.733)
PUBLISHED = {
    "unet": (
        Published(name="UMC", f1=0.949, mean_class_f1=0.905),
        Published(name="DeepFinder", f1=0.924, mean_class_f1=0.871),
        Published(name="Dn3DUnet", f1=0.869, mean_class_f1=0.653),
    ),
    "paper": (AUTHORS,),
    "paper-mended": (AUTHORS,),
}
"""Three U-Nets of the contest (Gubins and others, 2020, table 3), and the published detector (Wu, Liu, Yang, 2022)."""


def harder(snrs: Sequence[float]) -> Protocol:
    """Return the protocol `small` with its scenes at these SNRs."""
    protocol = find_protocol("small")
    difficulties = tuple(Difficulty(name=f"SNR {snr:g}", snr=snr) for snr in snrs)
    return replace(protocol, difficulties=difficulties, timing_shape=protocol.spec.shape)


def scored_again(entry: str, scenes: BenchmarkScenes, trained: Path, options: argparse.Namespace) -> Result:
    """Score the weights of an entry that the benchmark has trained.

    Raises:
        SystemExit: if they are not there.
    """
    source = entry_folder(trained, entry, scenes.protocol.seeds[0])
    if not read_spent(source).done:
        raise SystemExit(f"{source} holds no trained network: picker-training benchmark --detector {entry}")
    folder = options.output / entry
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG, SPENT, FILE):
        shutil.copy(source / name, folder / name)
    work = Work(
        scenes=scenes, folder=folder, device=choose_device(options.device, options.threads),
        seed=scenes.protocol.seeds[0], minutes=scenes.protocol.minutes, report=_say,
    )  # fmt: skip
    return run_entry(entry, ENTRIES[entry](work, options.templates))


def curve(result: Result, figure: str) -> list[float]:
    """Return a figure by the rule `shrec2020` at every SNR of the result."""
    return [scores[Rule.SHREC2020][figure] or 0.0 for scores in result.scores.values()]


def place_of(published: float, snrs: Sequence[float], measured: Sequence[float]) -> str:
    """Return the SNR at which the measured figure is the published one, or on which side of all SNRs it lies."""
    found = matching_snr(snrs, measured, published)
    if found is not None:
        return f"{found:.2g}"
    return f"below {min(snrs):g}" if min(measured) > published else f"above {max(snrs):g}"


def tables(results: dict[str, Result], snrs: Sequence[float]) -> str:
    """Return as Markdown what was measured, then where the published figures lie."""
    lines = ["| detector | figure | " + " | ".join(f"SNR {snr:g}" for snr in snrs) + " |"]
    lines.append("|" + " --- |" * (2 + len(snrs)))
    for entry, result in results.items():
        for figure, title in FIGURES.items():
            lines.append(f"| {entry} | {title} | " + " | ".join(f"{f:.3f}" for f in curve(result, figure)) + " |")
    lines += ["", "| detector | as published by | " + " | ".join(f"{t}: SNR" for t in FIGURES.values()) + " |"]
    lines.append("|" + " --- |" * (2 + len(FIGURES)))
    for entry, result in results.items():
        for one in PUBLISHED[entry]:
            told = [
                f"{getattr(one, figure):.3f}: {place_of(getattr(one, figure), snrs, curve(result, figure))}"
                for figure in FIGURES
            ]
            lines.append(f"| {entry} | {one.name} | " + " | ".join(told) + " |")
    return "\n".join(lines) + "\n"


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    """Test, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("--benchmark", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--entry", action="append", choices=list(PUBLISHED))
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    snrs = sorted(options.snr or SNRS, reverse=True)
    protocol = harder(snrs)
    scenes = prepare_scenes(protocol, options.benchmark / "scenes", options.templates, torch.device("cpu"), _say)
    trained = options.benchmark / protocol.name
    results = {entry: scored_again(entry, scenes, trained, options) for entry in options.entry or ("unet", "paper")}
    text = tables(results, snrs)
    record = {"snrs": snrs, "scores": {entry: result.scores for entry, result in results.items()}}
    (options.output / "difficulty.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.output / "difficulty.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
