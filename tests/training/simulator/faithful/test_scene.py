import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from picker_runtime.errors import UsageError
from picker_training.simulator.faithful.imaging import MultisliceImager, reconstruct, take_series
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters, ShrecParameters
from picker_training.simulator.faithful.scene import ShrecScene, describe, simulate_shrec
from picker_training.simulator.faithful.tilting import TiltedSlab, spline_coefficients
from picker_training.simulator.templates import Template

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes() -> dict[str, ShrecScene]:
    return {}


def scene_of(
    p: ShrecParameters, phantoms: list[Template], scenes: dict[str, ShrecScene], *, fast: bool = False
) -> ShrecScene:
    key = f"{type(p).__name__} {fast}"
    if key not in scenes:
        scenes[key] = simulate_shrec(p, phantoms, phantoms, 4, device=CPU, fast=fast)
    return scenes[key]


def test_the_same_seed_gives_the_same_scene(
    small_2020: Shrec2020Parameters, small_2021: Shrec2021Parameters, phantoms: list[Template],
    scenes: dict[str, ShrecScene],
) -> None:  # fmt: skip
    for p in (small_2020, small_2021):
        first, again = scene_of(p, phantoms, scenes), simulate_shrec(p, phantoms, phantoms, 4, device=CPU)
        assert np.array_equal(first.tomogram(), again.tomogram())
        other = simulate_shrec(p, phantoms, phantoms, 5, device=CPU)
        assert abs(np.corrcoef(first.detection.ravel(), other.detection.ravel())[0, 1]) < 0.1
        if first.structure.any():
            assert abs(np.corrcoef(first.structure.ravel(), other.structure.ravel())[0, 1]) < 0.1


def test_particles_are_dark_and_fast_agrees_with_faithful(
    small_2020: Shrec2020Parameters, small_2021: Shrec2021Parameters, phantoms: list[Template],
    scenes: dict[str, ShrecScene],
) -> None:  # fmt: skip
    for p in (small_2020, small_2021):
        slow, fast = scene_of(p, phantoms, scenes), scene_of(p, phantoms, scenes, fast=True)
        assert np.array_equal(slow.population.occupancy, fast.population.occupancy)
        particles = (slow.population.occupancy > 0) & (slow.population.occupancy <= len(slow.population.inside))
        assert slow.signal[particles].mean() < slow.signal[slow.population.occupancy == 0].mean()
        assert np.corrcoef(slow.signal.ravel(), fast.signal.ravel())[0, 1] > 0.97
        assert fast.signal.std() == pytest.approx(slow.signal.std(), rel=0.05)
        assert fast.detection.std() == pytest.approx(slow.detection.std(), rel=0.1)


def test_the_snr_asked_for_is_the_snr(
    small_2020: Shrec2020Parameters, phantoms: list[Template], scenes: dict[str, ShrecScene]
) -> None:
    scene = scene_of(small_2020, phantoms, scenes)
    assert small_2020.snr is not None
    assert scene.snr(scene.tomogram()) == pytest.approx(small_2020.snr, rel=1e-3)
    for snr in (0.01, 0.5):
        tomogram = scene.tomogram(snr)
        assert scene.signal.var() / (tomogram - scene.signal).var() == pytest.approx(snr, rel=1e-3)
        rest = tomogram - scene.signal - scene.structure
        assert abs(np.corrcoef(rest.ravel(), scene.detection.ravel())[0, 1]) > 0.999
    with pytest.raises(UsageError, match="structural noise alone") as caught:
        scene.tomogram(1000.0)
    assert caught.value.code == 80


def test_only_2020_has_structural_noise(
    small_2020: Shrec2020Parameters, small_2021: Shrec2021Parameters, phantoms: list[Template],
    scenes: dict[str, ShrecScene],
) -> None:  # fmt: skip
    assert scene_of(small_2020, phantoms, scenes).structure.std() > 0
    assert scene_of(small_2021, phantoms, scenes).structure.std() == 0


def test_a_scene_s_record_is_json_with_all_parameters(
    small_2021: Shrec2021Parameters, phantoms: list[Template], scenes: dict[str, ShrecScene]
) -> None:
    scene = scene_of(small_2021, phantoms, scenes)
    record = json.loads(json.dumps(describe(scene, scene.tomogram())))
    assert record["snr"] == pytest.approx(record["snr_of_recipe"])
    assert record["counts"]["vesicle"] == record["counts"]["fiducial"] == 1
    assert sum(record["counts"].values()) == len(scene.positions) == len(scene.names)
    assert record["parameters"]["energy_spread_ev"] == 0.7
    assert 2.0 <= record["defocus_um"] <= 5.0
    assert 100.0 <= record["dose_per_angstrom2"] <= 120.0


def dot(p: ShrecParameters, place: tuple[float, float, float]) -> np.ndarray:
    """Return a slab `(z, x, y)` with a Gaussian dot of absorbing matter at a voxel of the tomogram's field."""
    b = p.binning
    corner = np.array([0, p.margin, (p.breadth - p.field) // 2])
    z, y, x = (np.array(place) + corner + 0.5) * b - 0.5
    grid = np.indices((p.slab_shape[0], p.slab_shape[2], p.slab_shape[1]))
    distance2 = (grid[0] - z) ** 2 + (grid[1] - x) ** 2 + (grid[2] - y) ** 2
    return np.exp(-distance2 / (2 * (1.5 * b) ** 2)).astype(np.float32)


@pytest.mark.parametrize("place", [(15.0, 24.0, 20.0), (18.4, 20.3, 25.7)])
def test_a_point_stays_at_its_place(
    small_2020: Shrec2020Parameters, small_2021: Shrec2021Parameters, place: tuple[float, float, float]
) -> None:
    focused = {"defocus_um": (0.0, 0.0), "absorption_ratio": 1.0, "snr": None}
    for base in (small_2020, replace(small_2021, shift_angstrom=0.0, scaled_to_experiment=False)):
        p = replace(base, **focused)
        optics = Optics(parameters=p, defocus_angstrom=0.0, device=CPU)
        slab = TiltedSlab(spline_coefficients(dot(p, place)), p.wave_side, round(50 / p.sampling_angstrom), CPU)
        series = take_series(p, MultisliceImager(slab=slab, optics=optics), optics, 0, 1.0, lambda message: None)
        volume = -reconstruct([series.clean], p)[0].numpy()
        peak = np.unravel_index(volume.argmax(), volume.shape)
        window = tuple(slice(i - 2, i + 3) for i in peak)
        logarithm = np.log(np.maximum(volume[window], 1e-3 * volume.max()))
        for axis in range(3):  # a Gaussian's logarithm is a parabola
            line = np.moveaxis(logarithm, axis, 0)[:, 2, 2][1:4]
            offset = 0.5 * (line[0] - line[2]) / (line[0] - 2 * line[1] + line[2])
            assert peak[axis] + offset == pytest.approx(place[axis], abs=0.05)


def test_beam_damage_is_new_at_every_tilt(small_2020: Shrec2020Parameters) -> None:
    p = replace(small_2020, tilts_degree=(0.0, 0.0))
    optics = Optics(parameters=p, defocus_angstrom=3e4, device=CPU)
    depth, height, breadth = p.slab_shape
    imager = MultisliceImager(
        slab=TiltedSlab(np.zeros((depth, breadth, height), np.float32), p.wave_side, 5, CPU), optics=optics
    )
    first, second = take_series(p, imager, optics, 0, 0.0, lambda message: None).structure
    assert float(first.std()) > 0
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1


def test_back_projection_weighs_by_the_frequency_across_the_tilt_axis(small_2020: Shrec2020Parameters) -> None:
    p = replace(small_2020, tilts_degree=(0.0,))
    u = torch.arange(48.0)
    waves = [torch.cos(2 * torch.pi * k * u / 48)[None, None, :].expand(1, 48, 48).contiguous() for k in (0, 3, 12)]
    for volume, k in zip(reconstruct(waves, p), (0, 3, 12), strict=True):
        expected = k / 48 * torch.cos(2 * torch.pi * k * u / 48)
        assert volume[16, 24].numpy() == pytest.approx(expected.numpy(), abs=1e-5)
