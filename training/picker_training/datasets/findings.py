"""Findings: what lint has to say, one line each."""

from dataclasses import dataclass
from typing import Literal

from picker_runtime.errors import one_line

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong (error) or looks wrong (warning); line 0 stands for the whole file."""

    severity: Severity
    file: str
    line: int
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return one_line(f"{self.severity}: {place}: {self.found}, expected {self.expected}. Fix: {self.fix}.")
