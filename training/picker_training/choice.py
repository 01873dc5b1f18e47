"""Which of a run's averages is used."""

from enum import StrEnum


class Choice(StrEnum):
    """The average that validated best, or the last."""

    BEST = "best"
    LAST = "last"
