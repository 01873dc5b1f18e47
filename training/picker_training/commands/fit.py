"""The command `fit`."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from picker_runtime.errors import InputError, UsageError
from picker_training import fit_options as options
from picker_training.commands.grouped import takes
from picker_training.commands.lint import print_findings
from picker_training.commands.one_voice import one_voice
from picker_training.evaluation import rules
from picker_training.picks_options import PicksOptions

if TYPE_CHECKING:
    import torch

    from picker_training.config import TrainingConfig
    from picker_training.run import Score
    from picker_training.trainer import Progress


@one_voice
@takes("data_set", options.ShrecOptions)
@takes("own", PicksOptions)
def fit(
    data_set: options.ShrecOptions,
    own: PicksOptions,
    output: options.Output = None,
    templates: options.Templates = None,
    validation: options.Validation = None,
    config: options.Config = None,
    start_from: options.From = None,
    steps: options.Steps = None,
    minutes: options.Minutes = math.inf,
    detector: options.DetectorName = None,
    size: options.Size = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    print_config: options.PrintConfig = False,
) -> int:
    """Train a detector on simulated scenes or annotated tomograms; a run that was stopped goes on where it was."""
    from picker_training.device import choose_device

    settings, findings = options.resolve(
        output, config, data_set=data_set, own=own, validation=validation, start=start_from, steps=steps,
        detector=detector, size=size,
    )  # fmt: skip
    if print_findings(findings):
        return InputError.exit_status
    rule = rule_of(settings.annotated.year, data_set.rule)
    if print_config:
        return _print_config(settings)
    if output is None:
        raise UsageError(80, "--output", "missing, and the run needs a folder", "add -o RUN")
    from picker_training import run as training_run

    target = choose_device(device, threads)
    done = training_run.fit(
        output, settings, templates, target, start=start_from, seconds=minutes * 60,
        report=_print_progress, report_score=_print_score, note=_print_note,
    )  # fmt: skip
    if done:
        _score_held_out(output, rule, target)
    return 0 if done else _not_finished()


def _print_config(config: "TrainingConfig") -> int:
    from picker_training.config import dump_config

    print(dump_config(config), end="")
    return 0


def _not_finished() -> int:
    print("not finished: the same call goes on", file=sys.stderr)
    return 0


def _score_held_out(run: Path, rule: rules.Rule, device: "torch.device") -> None:
    from picker_training.config import load_config
    from picker_training.evaluation.report import table
    from picker_training.evaluation.scoring import score_files
    from picker_training.held_out import pick_held_out
    from picker_training.parallel import current

    if not current().first:
        return
    for truth, picks in pick_held_out(run, load_config(run / "config.toml"), device):
        score = score_files(rule, [truth], [picks], _scoring_options(rule, run, truth))
        print(f"{truth.name}: {picks}\n{table(score)}")


def _scoring_options(rule: rules.Rule, run: Path, truth: Path) -> rules.Options:
    """Return what a rule has to be told: `distance` the run's diameters, under the names of the truth's list."""
    from picker_training.datasets.shrec import read_truth
    from picker_training.run import read_diameters

    if rule is not rules.Rule.DISTANCE:
        return rules.Options()
    known = read_diameters(run)
    names = set(read_truth(truth).names)
    return rules.Options(diameters={name: known[name.lower()] for name in names if name.lower() in known})


def rule_of(year: int, asked: rules.Rule | None) -> rules.Rule:
    """Return the rule that scores what a run held out, by default that of its data set's year; 0 for no year.

    Raises:
        UsageError: E80 if the rule reads lists in another order of axes than the data set's.
    """
    own = {2019: rules.Rule.SHREC2019, 2021: rules.Rule.SHREC2021}.get(year, rules.Rule.SHREC2020)
    if asked is not None and (asked is rules.Rule.SHREC2019) != (year == 2019):
        problem = f"reads particle lists in another order than those of --year {year or 2020}"
        raise UsageError(80, f"--rule {asked}", problem, f"leave it out, for {own}")
    return asked or own


def _print_progress(progress: "Progress") -> None:
    parts = "  ".join(f"{name} {value:.3f}" for name, value in progress.parts.items())
    pace = f"{progress.steps_per_second:.2g} steps/s  {_duration(progress.seconds_left)} left"
    scores = "" if math.isnan(progress.f1) else f"  F1 {progress.f1:.3f} class F1 {progress.class_f1:.3f}"
    line = f"step {progress.step}/{progress.steps}  loss {progress.total:.3f}  {parts}  {pace}{scores}"
    print(line, file=sys.stderr, flush=True)


def _print_score(score: "Score") -> None:
    print(
        f"step {score.step}: localisation F1 {score.f1:.3f}  class F1 {score.class_f1:.3f}  "
        f"centre error {score.centre_error:.2f} voxels",
        file=sys.stderr,
        flush=True,
    )


def _print_note(note: str) -> None:
    print(f"note: {note}", file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "?"
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
