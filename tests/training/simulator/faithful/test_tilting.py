import numpy as np
import pytest
import torch
from scipy import ndimage

from picker_training.simulator.faithful.tilting import TiltedSlab, spline_coefficients

DEPTH, BREADTH, HEIGHT, WIDTH, THICKNESS = 14, 40, 3, 32, 5
CPU = torch.device("cpu")


def slab() -> np.ndarray:
    """Return smooth noise `(z, x, y)`, empty near the faces in z."""
    values = np.random.default_rng(0).normal(size=(DEPTH, BREADTH, HEIGHT))
    values[:4] = values[-4:] = 0.0
    return ndimage.gaussian_filter(values, (1.0, 1.0, 0.0), mode=("constant", "wrap", "constant")).astype(np.float32)


def plainly_tilted(volume: np.ndarray, tilt: float, count: int) -> np.ndarray:
    """Turn a volume by cubic splines and add its planes to slices `(slices, u, y)`."""
    u, w = np.arange(WIDTH) - (WIDTH - 1) / 2, np.arange(count * THICKNESS) + 0.5 - count * THICKNESS / 2
    z = u[None, :] * np.sin(tilt) + w[:, None] * np.cos(tilt) + (DEPTH - 1) / 2
    x = u[None, :] * np.cos(tilt) - w[:, None] * np.sin(tilt) + (BREADTH - 1) / 2
    repeated = np.pad(np.concatenate([volume] * 3, axis=1), ((8, 8), (0, 0), (0, 0)))
    turned = [ndimage.map_coordinates(repeated[..., y], [z + 8, x + BREADTH], order=3) for y in range(HEIGHT)]
    return np.stack(turned, axis=-1).reshape(count, THICKNESS, WIDTH, HEIGHT).sum(axis=1)


@pytest.mark.parametrize("tilt", [-60.0, -17.0, 0.0, 3.0, 45.0, 60.0])
def test_slices_are_those_of_the_volume_turned_plainly(tilt: float) -> None:
    volume = slab()
    tilted = TiltedSlab(spline_coefficients(volume.copy()), WIDTH, THICKNESS, CPU)
    slices = torch.stack([part.projected for part in tilted.slices(tilt)]).numpy()
    expected = plainly_tilted(volume, np.deg2rad(tilt), tilted.slice_count(tilt))
    assert slices.shape == expected.shape
    assert np.abs(slices - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("tilt", [-60.0, 0.0, 33.0])
def test_every_beam_crosses_the_whole_slab(tilt: float) -> None:
    tilted = TiltedSlab(slab(), WIDTH, THICKNESS, CPU)
    paths = torch.stack([part.path for part in tilted.slices(tilt)])
    assert paths.sum(dim=0).numpy() == pytest.approx(DEPTH / np.cos(np.deg2rad(tilt)), rel=1e-5)
    assert float(paths.max()) <= THICKNESS + 1e-5


def test_splines_go_through_the_slab_s_values() -> None:
    volume = slab()
    c = spline_coefficients(volume.copy())
    c = np.pad(c, ((1, 1), (0, 0), (0, 0)))
    along_z = (c[:-2] + 4 * c[1:-1] + c[2:]) / 6
    back = (np.roll(along_z, 1, axis=1) + 4 * along_z + np.roll(along_z, -1, axis=1)) / 6
    assert back == pytest.approx(volume, abs=1e-4)
