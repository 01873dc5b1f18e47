"""What is measured through the graph reaches the card."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from golden.blob_graph import golden_bundle

from picker_export import bundling
from picker_runtime.bundle import Bundle


@pytest.mark.parametrize(
    ("compared", "line"),
    [(199, "halo 16 (no less than 16: only 199 picks to compare), agreement "), (200, "halo 16, agreement ")],
)
def test_the_card_has_the_thresholds_and_the_halo_that_were_measured(
    compared: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = Bundle.open(golden_bundle(tmp_path / "model")).card
    asked: list[float] = []

    def calibrated(card: object, found: object, scenes: object, *, fractions: object, beta: float) -> object:
        asked.append(beta)
        thresholds = (0.37, 0.61)
        classes = [replace(c, threshold=t) for c, t in zip(draft.classes, thresholds, strict=True)]
        return replace(draft, classes=tuple(classes), nms_fraction=0.6)

    monkeypatch.setattr(bundling, "OpenVinoEngine", lambda graph: nullcontext())
    monkeypatch.setattr(bundling, "candidates_of", lambda engine, card, scene: None)
    monkeypatch.setattr(bundling, "calibrated", calibrated)
    monkeypatch.setattr(bundling, "measure_halo", lambda engine, card, scenes: (16, {"8": 0.9, "16": 1.0}, compared))
    monkeypatch.setattr(bundling, "write_selftest", lambda *given: None)
    said: list[str] = []
    card = bundling._calibrated(tmp_path, draft, [None], (0.5, 0.6), 4.0, said.append)  # type: ignore[list-item]
    assert asked == [4.0]
    assert [particle.threshold for particle in card.classes] == [0.37, 0.61]
    assert (card.nms_fraction, card.halo, card.halo_curve) == (0.6, 16, {"8": 0.9, "16": 1.0})
    assert said[-1].startswith(line)
