"""Judged classes: those that the tomogram which judges a run has alone, and those that it has not."""

from collections.abc import Iterator

from picker_training.datasets.findings import Finding
from picker_training.datasets.picks import Annotations
from picker_training.picks_section import PicksSection


def unjudged(annotations: Annotations, section: PicksSection) -> Iterator[Finding]:
    """Find classes that are in the tomogram that judges the run alone, or not in it."""
    *learnt, judge = annotations.annotated or [""]
    if section.validation in learnt:
        learnt, judge = [name for name in (*learnt, judge) if name != section.validation], section.validation
    if not learnt:
        return
    wanted = {p.name for p in annotations.picks} - {*section.background, *section.ignored}
    there = {p.name for p in annotations.picks if p.tomogram == judge} & wanted
    elsewhere = {p.name for p in annotations.picks if p.tomogram in learnt} & wanted
    file = annotations.tomograms[judge].path.name
    for name in sorted(there - elsewhere):
        yield Finding(
            severity="warning", file=file, line=0, found=f"picks of {name} in this tomogram alone, which judges",
            expected="some to learn from", fix="let another tomogram judge with --validation NAME, or ignore the class",
        )  # fmt: skip
    for name in sorted(elsewhere - there):
        yield Finding(
            severity="warning", file=file, line=0, found=f"no picks of {name} in this tomogram, which judges",
            expected="some to choose its threshold by",
            fix="let another tomogram judge with --validation NAME; else it gets the median of the other classes'",
        )  # fmt: skip
