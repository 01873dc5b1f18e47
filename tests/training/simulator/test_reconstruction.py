import numpy as np
import pytest
import torch

from picker_training.simulator.reconstruction import TiltGeometry

SHAPE = (24, 5, 32)
TILTS = (-60.0, -45.0, -30.0, 0.0, 20.0, 45.0, 60.0)
CPU = torch.device("cpu")


def voxel(z: int, y: int, x: int) -> torch.Tensor:
    volume = torch.zeros(SHAPE)
    volume[z, y, x] = 1.0
    return volume


def expected_column(geometry: TiltGeometry, z: int, x: int) -> np.ndarray:
    """Return where a voxel is seen in each image: its distance from the tilt axis along the image."""
    depth, _, breadth = geometry.shape
    across, along = x - (breadth - 1) / 2, z - (depth - 1) / 2
    seen: np.ndarray = across * np.cos(geometry.tilts) + along * np.sin(geometry.tilts) + (geometry.width - 1) / 2
    return seen


def brightest(volume: torch.Tensor) -> list[int]:
    """Return the place of the highest voxel, zyx."""
    return [int(i) for i in np.unravel_index(int(volume.argmax()), volume.shape)]


@pytest.mark.parametrize(("z", "x"), [(12, 16), (3, 20), (20, 9), (12, 12)])
def test_a_voxel_is_projected_to_its_column_and_row(z: int, x: int) -> None:
    geometry = TiltGeometry(SHAPE, TILTS, CPU)
    images = geometry.project(voxel(z, 3, x)).numpy()
    columns = np.arange(geometry.width)
    assert images.shape == (len(TILTS), SHAPE[1], geometry.width)
    assert not images[:, [0, 1, 2, 4]].any()
    wanted = expected_column(geometry, z, x)
    for image, column, tilt in zip(images, wanted, geometry.tilts, strict=True):
        row = np.where(np.abs(columns - column) < 8, image[3], 0)  # the slab repeats further away
        assert (row * columns).sum() / row.sum() == pytest.approx(column, abs=0.3 + abs(np.sin(tilt)) * 0.2)


def test_the_mean_of_a_slab_is_seen_thicker_at_a_tilt() -> None:
    geometry = TiltGeometry(SHAPE, TILTS, CPU)
    images = geometry.project(torch.ones(SHAPE)).numpy()
    for image, tilt in zip(images, geometry.tilts, strict=True):
        assert image == pytest.approx(np.full_like(image, SHAPE[0] / np.cos(tilt)), rel=1e-4)


def test_the_slab_goes_on_beyond_its_sides() -> None:
    geometry = TiltGeometry(SHAPE, (0.0,), CPU)
    edge = (geometry.width - SHAPE[2]) // 2
    image = geometry.project(voxel(10, 2, 0))[0, 2].numpy()
    assert image[edge] == pytest.approx(1.0)
    assert image[edge + SHAPE[2]] == pytest.approx(1.0)


@pytest.mark.parametrize(("z", "x"), [(12, 16), (3, 20), (20, 9)])
def test_images_of_a_voxel_meet_again_in_it(z: int, x: int) -> None:
    geometry = TiltGeometry(SHAPE, TILTS, CPU)
    volume = geometry.backproject(geometry.project(voxel(z, 3, x)))
    assert volume.shape == SHAPE
    assert brightest(volume) == [z, 3, x]


def test_a_column_is_smeared_along_its_ray() -> None:
    geometry = TiltGeometry((33, 1, 33), (45.0,), CPU)
    images = torch.zeros(1, 1, geometry.width)
    middle = (geometry.width - 1) / 2
    images[0, 0, int(middle)] = images[0, 0, int(middle) + 1] = 1.0  # the middle lies between two columns
    volume = geometry.backproject(images)[:, 0].numpy()
    assert np.argwhere(volume > 0.99).tolist() == [[z, 32 - z] for z in range(33)]  # x cos 45 + z sin 45 = 0


def test_weighting_leaves_no_mean_and_keeps_the_peak() -> None:
    geometry = TiltGeometry(SHAPE, TILTS, CPU)
    images = geometry.project(voxel(12, 2, 16))
    sharp, soft = geometry.reconstruct(images, 1.0), geometry.reconstruct(images, 0.5)
    assert brightest(sharp) == [12, 2, 16]
    assert float(sharp.max()) > float(soft.max()) > 0
    flat = geometry.reconstruct(torch.ones_like(images), 1.0)
    assert float(flat.abs().max()) < 1e-5


def test_the_ramp_stops_at_its_cutoff() -> None:
    geometry = TiltGeometry((1, 1, 64), (0.0,), CPU)
    columns = torch.arange(geometry.width, dtype=torch.float32)
    waves = [torch.cos(2 * torch.pi * round(f * geometry.width) / geometry.width * columns) for f in (0.2, 0.4)]
    kept, cut = (float(geometry.reconstruct(w[None, None], 0.6).abs().max()) for w in waves)
    assert kept == pytest.approx(0.2, rel=0.1)
    assert cut == pytest.approx(0.0, abs=1e-4)
