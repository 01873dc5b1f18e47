"""Scanning: a card's facts become tiles."""

from dataclasses import replace

import pytest

from picker_runtime.bundle import Bundle
from picker_runtime.scanning import tiles_of


@pytest.mark.parametrize(("margin", "starts", "edges"), [(0, {0}, (200, 184, 264)), (5, {-8}, (216, 192, 272))])
def test_tiles_follow_the_card_s_margin(margin: int, starts: set[int], edges: tuple[int, int, int]) -> None:
    card = replace(Bundle.open("shrec12").card, margin=margin, halo=8)
    tiles = tiles_of(card, (200, 512, 512))
    assert {tile.cube.shape for tile in tiles} == {edges}
    assert {min(tile.cube.start[axis] for tile in tiles) for axis in range(3)} == starts
    assert {tile.cube.start for tile in tiles_of(card, (64, 64, 64), tile=(96, 96, 96))} == {tuple(starts) * 3}
