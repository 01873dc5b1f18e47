"""Choices of classes that lead nowhere: names of none that is there, a judging tomogram that lacks some."""

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


def unused(annotations: Annotations, section: PicksSection) -> Iterator[Finding]:
    """Find options that name classes of which there are no picks."""
    names = sorted({pick.name for pick in annotations.picks})
    options = [("--ignore", name, name) for name in section.ignored]
    options += [("--background", name, name) for name in section.background]
    options += [("--class", f"{old}={new}", new) for old, new in section.new_names().items()]
    for option, said, name in options if names else ():
        if name not in names:
            yield Finding(
                severity="warning", file=f"{option} {said}", line=0, found="no picks of it in any file",
                expected=f"one of {', '.join(names)}", fix="correct the name, or leave the option out",
            )  # fmt: skip
