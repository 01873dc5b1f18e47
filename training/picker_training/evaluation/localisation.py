"""Localisation: what every rule counts whatever the class, and the rates that follow from it."""

from dataclasses import dataclass

from picker_training.evaluation.confusion import ratio


@dataclass(frozen=True, kw_only=True)
class Localisation:
    """How many picks, how many truths, and how many distinct truths were found (tp)."""

    picks: int
    truths: int
    tp: int

    @property
    def fn(self) -> int:
        """Truths that were not found."""
        return self.truths - self.tp

    @property
    def precision(self) -> float:
        """Truths found among all picks: a duplicate lowers it."""
        return ratio(self.tp, self.picks)

    @property
    def recall(self) -> float:
        """Truths found among all truths."""
        return ratio(self.tp, self.truths)

    @property
    def miss_rate(self) -> float:
        """Truths not found among all truths; 0 without truths."""
        return ratio(self.truths - self.tp, self.truths)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return ratio(2 * self.tp, self.picks + self.truths)
