import pytest
import torch

from picker_training.detectors.point import ALIGNMENT, OUTPUT_STRIDE, PointConfig, PointDetector, space_to_depth

TINY = PointConfig(classes=3, widths=(8, 8, 8), blocks=(1, 1, 1))


def network(config: PointConfig = TINY) -> PointDetector:
    torch.manual_seed(0)
    return PointDetector(config).eval()


def test_space_to_depth_moves_every_voxel_to_its_channel() -> None:
    cubes = torch.randn(2, 1, 4, 6, 8)
    out = space_to_depth(cubes)
    assert out.shape == (2, 8, 2, 3, 4)
    for z in range(4):
        for y in range(6):
            for x in range(8):
                channel = 4 * (z % 2) + 2 * (y % 2) + x % 2
                assert torch.equal(out[:, channel, z // 2, y // 2, x // 2], cubes[:, 0, z, y, x])


@pytest.mark.parametrize("shape", [(16, 16, 16), (8, 24, 32)])
def test_every_output_cell_gets_a_prediction(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        prediction = network()(torch.randn(2, 1, *shape))
    cells = tuple(n // OUTPUT_STRIDE for n in shape)
    assert prediction.objectness.shape == (2, *cells)
    assert prediction.classes.shape == (2, 3, *cells)
    assert prediction.offset.shape == (2, 3, *cells)
    assert {t.dtype for t in (prediction.objectness, prediction.classes, prediction.offset)} == {torch.float32}


def test_edges_that_are_no_multiples_of_the_alignment_do_not_fit() -> None:
    with pytest.raises(RuntimeError):
        network()(torch.zeros(1, 1, ALIGNMENT * 2, ALIGNMENT * 2, ALIGNMENT * 2 - 4))


def test_a_shift_by_the_alignment_shifts_the_prediction() -> None:
    shallow = PointConfig(classes=3, widths=(8, 8, 8), blocks=(0, 0, 0))  # so that the faces are out of sight
    cubes = torch.randn(1, 1, 96, 16, 16)
    with torch.no_grad():
        one, shifted = network(shallow)(cubes), network(shallow)(torch.roll(cubes, ALIGNMENT, dims=2))
    middle = slice(20, 24)
    later = slice(20 + ALIGNMENT // OUTPUT_STRIDE, 24 + ALIGNMENT // OUTPUT_STRIDE)
    assert torch.allclose(one.objectness[:, middle], shifted.objectness[:, later], atol=1e-6)
    assert torch.allclose(one.offset[:, :, middle], shifted.offset[:, :, later], atol=1e-6)


def test_an_untrained_network_expects_few_particles() -> None:
    with torch.no_grad():
        probability = torch.sigmoid(network()(torch.randn(1, 1, 32, 32, 32)).objectness)
    assert 0.001 < float(probability.mean()) < 0.05


def test_the_configuration_sets_the_size() -> None:
    def count(config: PointConfig) -> int:
        return sum(p.numel() for p in PointDetector(config).parameters())

    wider = PointConfig(classes=3, widths=(8, 16, 16), blocks=(1, 1, 1))
    deeper = PointConfig(classes=3, widths=(8, 8, 8), blocks=(1, 2, 1))
    assert count(wider) > count(TINY)
    assert count(deeper) - count(TINY) == 2 * (8 * 8 * 27 + 2 * 8)
    assert 4 * count(PointConfig(classes=12)) < 8_000_000  # bytes that a bundle's file may have
