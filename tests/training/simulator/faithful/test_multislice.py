from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from picker_training.simulator.faithful.materials import interaction_constant
from picker_training.simulator.faithful.multislice import intensities
from picker_training.simulator.faithful.optics import Optics
from picker_training.simulator.faithful.parameters import Shrec2020Parameters, Shrec2021Parameters
from picker_training.simulator.faithful.tilting import Slice
from picker_training.simulator.microscope import Microscope, contrast_transfer

SIDE, COUNT = 64, 8
BEHIND = 0.5 * COUNT * 50.0
CPU = torch.device("cpu")


def slices(potential: torch.Tensor | None = None, at: int = 0, path: float = 5.0) -> Iterator[Slice]:
    """Yield ice with a potential in one slice."""
    for number in range(COUNT):
        inside = potential if potential is not None and number == at else torch.zeros((SIDE, SIDE))
        yield Slice(projected=inside, path=torch.full((SIDE,), path))


def blob(height: float) -> torch.Tensor:
    axis = torch.arange(SIDE) - SIDE // 2
    return height * torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 2.0**2))


def weak_image(potential: torch.Tensor, optics: Optics) -> torch.Tensor:
    phase = potential * interaction_constant(300.0) * optics.parameters.sampling_angstrom
    transfer = optics.contrast_transfer(optics.frequency2((SIDE, SIDE), half=True))
    return 1.0 - torch.fft.irfft2(torch.fft.rfft2(phase) * transfer)


def test_ice_alone_absorbs_evenly(small_2021: Shrec2021Parameters) -> None:
    optics = Optics(parameters=small_2021, defocus_angstrom=3e4, device=CPU)
    image = intensities(slices(), BEHIND, (SIDE, SIDE), optics)[0]
    sigma = interaction_constant(300.0)
    expected = np.exp(-2 * sigma * small_2021.ice_absorption_volt * COUNT * 5.0 * small_2021.sampling_angstrom)
    assert image.numpy() == pytest.approx(expected, rel=1e-4)


def test_nothing_is_lost_without_absorption(small_2021: Shrec2021Parameters) -> None:
    clear = replace(
        small_2021, absorption_ratio=0.0, ice_absorption_volt=0.0, energy_spread_ev=0.0, illumination_aperture_mrad=0.0
    )
    optics = Optics(parameters=clear, defocus_angstrom=3e4, device=CPU)
    image = intensities(slices(blob(200.0), 2), BEHIND, (SIDE, SIDE), optics)[0]
    assert float(image.mean()) == pytest.approx(1.0, abs=1e-4)
    assert float(image.std()) > 0.02


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_weak_object_is_defocused_by_its_own_height(small_2021: Shrec2021Parameters, at: int) -> None:
    thick = replace(small_2021, ice_absorption_volt=0.0, slice_angstrom=2000.0)
    optics = Optics(parameters=thick, defocus_angstrom=3e4, device=CPU)
    image = intensities(slices(blob(1.0), at), 0.5 * COUNT * 2000.0, (SIDE, SIDE), optics)[0]
    deeper = (COUNT / 2 - at) * 2000.0  # the first slice is farthest from the lens
    expected = weak_image(blob(1.0), replace(optics, defocus_angstrom=3e4 - deeper))
    contrast = float((expected - 1.0).abs().max())
    assert float((image - expected).abs().max()) < 0.05 * contrast


def test_noise_makes_a_second_image(small_2020: Shrec2020Parameters) -> None:
    optics = Optics(parameters=small_2020, defocus_angstrom=3e4, device=CPU)
    pair = intensities(slices(blob(0.1)), BEHIND, (SIDE, SIDE), optics, lambda part: torch.ones_like(part.projected))
    alone = intensities(slices(blob(0.1)), BEHIND, (SIDE, SIDE), optics)
    assert pair.shape == (2, SIDE, SIDE)
    assert torch.equal(pair[0], alone[0])
    assert float(pair[1].mean()) < float(pair[0].mean())  # its absorption


def test_the_contrast_of_2020_is_that_of_the_plain_simulator(small_2020: Shrec2020Parameters) -> None:
    optics = Optics(parameters=small_2020, defocus_angstrom=3e4, device=CPU)
    k2 = optics.frequency2((SIDE, SIDE), half=True)
    plain = contrast_transfer(Microscope(), k2.sqrt(), small_2020.sampling_angstrom)
    ours = optics.contrast_transfer(k2) / 2.0 * (1.0 - small_2020.amplitude_contrast**2) ** 0.5
    assert ours.numpy() == pytest.approx(plain.numpy(), abs=1e-4)


def test_envelopes(small_2020: Shrec2020Parameters, small_2021: Shrec2021Parameters) -> None:
    first = Optics(parameters=small_2020, defocus_angstrom=3e4, device=CPU)
    assert float(first.envelope(torch.tensor((0.4 / 20.0) ** 2))) == pytest.approx(np.exp(-1.0))
    second = Optics(parameters=small_2021, defocus_angstrom=3e4, device=CPU)
    values = second.envelope(torch.tensor([0.0, 0.05, 0.1, 0.53, 0.55]) ** 2)
    assert values[0] == 1.0
    assert values[0] > values[1] > values[2] > 0.3
    wide = Optics(parameters=replace(small_2021, illumination_aperture_mrad=0.0, energy_spread_ev=0.0),
                  defocus_angstrom=3e4, device=CPU)  # fmt: skip
    assert wide.envelope(torch.tensor([0.53, 0.55]) ** 2).tolist() == [1.0, 0.0]
