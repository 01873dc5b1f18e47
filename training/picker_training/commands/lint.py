"""The command `lint`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from picker_runtime.errors import InputError
from picker_training.commands.grouped import takes
from picker_training.picks_options import PicksOptions

if TYPE_CHECKING:
    from picker_training.datasets.findings import Finding


@takes("own", PicksOptions)
def lint(
    own: PicksOptions,
    model: Annotated[
        str | None, typer.Option(help="Hold classes, voxel size and polarity against those of this model.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding on stdout.")] = False,
) -> int:
    """Tell what is wrong with picks files and the tomograms they belong to, line by line, and what to type."""
    from picker_runtime.bundle import Bundle
    from picker_training import picks_run
    from picker_training.datasets.picks import read_annotations

    section = own.section()
    card = Bundle.open(model).card if model else None
    classes = own.expected_classes or (card.class_names if card else ())
    annotations = read_annotations(section)
    findings = picks_run.judge(section, annotations, classes=classes, card=card)
    for finding in findings:
        print(json.dumps(asdict(finding)) if as_json else finding)
    errors = sum(finding.severity == "error" for finding in findings)
    print(
        f"{len(annotations.picks)} picks, {len(annotations.tomograms)} tomograms: {errors} errors, "
        f"{len(findings) - errors} warnings",
        file=sys.stderr,
    )
    return InputError.exit_status if errors else 0


def print_findings(findings: Sequence["Finding"], *, shown: int = 30) -> bool:
    """Show the first findings on stderr; tell whether any is an error."""
    for finding in findings[:shown]:
        print(finding, file=sys.stderr)
    if len(findings) > shown:
        print(f"... and {len(findings) - shown} more: picker-training lint", file=sys.stderr)
    return any(finding.severity == "error" for finding in findings)
