"""What the ideal observer's figures rest on: how images change with a shift, the noise of a scene, the alignment."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmark.ideal_observer import ALIGNED_WITH, Observer, most_alike
from training.phantoms import SMALL, hook

from picker_training.baselines.rotations import even_rotations
from picker_training.simulator.reconstruction import TiltGeometry
from picker_training.simulator.scene import simulate
from picker_training.simulator.specimen import draw_particles, random_rotations
from picker_training.simulator.templates import Template

SPEC = replace(SMALL, shape=(32, 96, 96), particles=36)


@pytest.fixture(scope="module")
def observer(phantoms: list[Template]) -> Observer:
    return Observer(SPEC, phantoms, seed=1)


def test_the_information_tells_how_much_images_change_when_a_particle_moves(observer: Observer) -> None:
    rotation = random_rotations(1, np.random.default_rng(2))[0]
    shift = np.array([0.1, -0.2, 0.16])
    before, between, after = (observer.draw(hook(), rotation, part * shift) for part in (-0.5, 0.0, 0.5))
    expected = shift @ observer.information(between) @ shift
    moved = observer.strength(after - before) ** 2
    assert moved == pytest.approx(expected, rel=0.15)  # densities are drawn by linear interpolation


def test_its_noise_is_that_of_a_scene_of_the_same_snr(observer: Observer, phantoms: list[Template]) -> None:
    scene = simulate(SPEC, phantoms, 5)
    geometry = TiltGeometry(SPEC.shape, SPEC.microscope.tilts_degree, torch.device("cpu"))
    pixels = torch.randn(len(geometry.tilts), SPEC.shape[1], geometry.width, generator=torch.Generator().manual_seed(3))
    seen = geometry.reconstruct(observer.noise(0.1) * pixels, SPEC.microscope.ramp_cutoff).var()
    assert float(seen) == pytest.approx(scene.signal_variance / 0.1, rel=0.15)


def test_a_class_is_turned_to_where_it_looks_most_like_the_other(observer: Observer) -> None:
    first = hook()
    wanted = even_rotations(ALIGNED_WITH)[123]
    turned = draw_particles(first, wanted.T[None], np.zeros((1, 3)), 5.0)[0][0].numpy()
    second = replace(first, name="turned", density=turned, mask=np.ones_like(turned))
    turn = most_alike(observer, [first, second])[first.name, "turned"]
    np.testing.assert_allclose(turn, wanted)
    there = random_rotations(1, np.random.default_rng(4))[0]
    difference = observer.draw(first, there) - observer.draw(second, there @ turn)
    assert observer.strength(difference) < 0.2 * observer.strength(observer.draw(first, there))
