from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from picker_training.detectors.options import MENDED, PaperOptions
from picker_training.detectors.paper import PaperDetector
from picker_training.detectors.paper_boxes import RawPrediction
from picker_training.detectors.paper_network import Head
from picker_training.detectors.registry import build, rebuild
from picker_training.detectors.transfer import take_over
from picker_training.loading import Batch

TINY = PaperOptions(width=2, blocks=(1, 1, 1, 1, 1), anchors=(6.0, 12.0))


def tiny(options: PaperOptions = TINY, classes: int = 2) -> PaperDetector:
    torch.manual_seed(0)
    return PaperDetector(classes, options).eval()


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def multiplications(network: nn.Module, edge: int) -> int:
    """Count the multiply-adds of the convolutions on one cube, without computing them."""
    counted = []

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        counted.append(module.weight.numel() * out.shape[2:].numel())  # type: ignore[operator]

    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_hook(count)
    network.to("meta").eval()(torch.zeros(1, 1, edge, edge, edge, device="meta"))
    return sum(counted)


def test_the_published_network_has_the_published_size() -> None:
    """Of the public code's 58.36 M parameters 53.90 M are used; the rest are its two heads that nothing reads."""
    with torch.device("meta"):
        network = PaperDetector(12, PaperOptions())
        unused = [Head(wide, 3, 12, linear=False) for wide in (512, 256)]
    assert parameters(network) == pytest.approx(53.90e6, rel=0.001)
    assert parameters(network) + sum(parameters(head) for head in unused) == pytest.approx(58.36e6, rel=0.001)
    residual = [m for m in network.modules() if type(m).__name__ == "Residual"]
    assert len(residual) == 36
    assert multiplications(network, 64) == pytest.approx(51.2e9, rel=0.002)


def test_a_quarter_of_the_width_is_a_sixteenth_of_the_work() -> None:
    with torch.device("meta"):
        network = PaperDetector(12, PaperOptions(width=8))
    assert parameters(network) == pytest.approx(53.90e6 / 16, rel=0.01)


@pytest.mark.parametrize("shape", [(16, 16, 16), (16, 32, 48)])
@pytest.mark.parametrize("options", [TINY, replace(TINY, linear_output=True)])
def test_every_anchor_of_every_output_cell_gets_a_prediction(
    options: PaperOptions, shape: tuple[int, int, int]
) -> None:
    with torch.no_grad():
        raw = tiny(options)(torch.randn(2, 1, *shape))
    cells = tuple(n // 4 for n in shape)
    assert raw.offset.shape == (2, 2, 3, *cells)
    assert raw.size.shape == raw.objectness.shape == (2, 2, *cells)
    assert raw.classes.shape == (2, 2, 2, *cells)
    assert {t.dtype for t in (raw.offset, raw.size, raw.objectness, raw.classes)} == {torch.float32}


def test_edges_that_are_no_multiples_of_the_alignment_do_not_fit() -> None:
    with pytest.raises(RuntimeError):
        tiny()(torch.zeros(1, 1, 24, 32, 32))


def test_a_shift_by_the_alignment_shifts_the_prediction() -> None:
    shallow = replace(TINY, blocks=(0,) * 5)
    cubes = torch.randn(1, 1, 256, 16, 16)
    with torch.no_grad():
        one, shifted = tiny(shallow)(cubes), tiny(shallow)(torch.roll(cubes, 16, dims=2))
    assert torch.allclose(one.objectness[:, :, 30:34], shifted.objectness[:, :, 34:38], atol=1e-6)


def test_only_the_mended_network_can_deny_freely() -> None:
    """Behind a LeakyReLU negative logits are a tenth; BatchNorm makes them of the order of 1 at first."""
    for options, last in ((TINY, nn.LeakyReLU), (replace(TINY, linear_output=True), nn.Conv3d)):
        outputs = [tiny(options).head.boxes, *tiny(options).head.classes]
        assert {type(list(part.modules())[-1]) for part in outputs} == {last}


def said(*, objectness: list[float], classes: list[list[float]]) -> RawPrediction:
    """Return one cell in which anchors say this."""
    head = torch.zeros(1, 2, 5 + 2, 1, 1, 1)
    head[0, :, 4, 0, 0, 0] = torch.tensor(objectness)
    head[0, :, 5:, 0, 0, 0] = torch.tensor(classes)
    return RawPrediction.of(head)


def test_a_cell_s_candidate_is_its_best_anchor_s_box() -> None:
    raw = said(objectness=[1.0, 2.0], classes=[[9.0, 0.0], [0.0, 0.5]])
    found = tiny().cells(raw)
    assert found.diameters is not None
    assert (float(found.diameters), int(found.class_ids)) == (12.0, 1)
    assert float(found.scores) == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert found.centers.flatten().tolist() == [1.5, 1.5, 1.5]


def test_with_the_class_in_its_score_a_box_of_a_certain_class_wins() -> None:
    raw = said(objectness=[1.0, 2.0], classes=[[9.0, 0.0], [0.0, 0.5]])
    found = tiny(replace(TINY, class_in_score=True)).cells(raw)
    assert found.diameters is not None
    assert (float(found.diameters), int(found.class_ids)) == (6.0, 0)
    assert float(found.scores) == pytest.approx(1 / (1 + np.exp(-1.0)) / (1 + np.exp(-9.0)))


def test_below_the_confidence_there_is_no_candidate() -> None:
    raw = said(objectness=[-0.1, -2.0], classes=[[0.0, 0.0], [0.0, 0.0]])
    assert float(tiny().cells(raw).scores) == 0.0
    assert float(tiny(replace(TINY, confidence=0.0)).cells(raw).scores) > 0.4


def test_sizes_have_to_be_known_before_training() -> None:
    network = tiny()
    cubes = torch.zeros(1, 1, 16, 16, 16)
    batch = Batch(cubes, [torch.zeros(0, 3)], [torch.zeros(0, dtype=torch.int64)])
    with pytest.raises(RuntimeError, match="prepare"):
        network.loss(network(cubes), batch, halo=4)
    network.prepare(torch.tensor([6.0, 12.0]))
    assert torch.isfinite(network.loss(network(cubes), batch, halo=4).total)
    assert not {"sizes", "anchors"} & set(network.state_dict())


def test_a_card_says_enough_to_build_it_again() -> None:
    network = build("paper", 2, replace(MENDED, width=2, blocks=(0,) * 5), seed=0)
    again = rebuild(network.facts(), 2)
    assert isinstance(again, PaperDetector)
    assert again.options == network.options
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("options", [TINY, replace(TINY, linear_output=True)])
def test_classes_are_taken_over_by_name_in_every_anchor(options: PaperOptions) -> None:
    old, new = tiny(options, classes=2), build("paper", 3, options, seed=5)
    with torch.no_grad():
        for value in old.state_dict().values():
            if value.dtype.is_floating_point:
                value.uniform_(0.5, 1.5)
    new.load_state_dict(take_over(old, ("a", "b"), new, ("c", "b", "a")))
    with torch.no_grad():
        cubes = torch.randn(1, 1, 16, 16, 16)
        before, after = old(cubes), new.eval()(cubes)
    assert torch.allclose(after.objectness, before.objectness)
    assert torch.allclose(after.classes[:, :, [2, 1]], before.classes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 3}, "even number"),
        ({"blocks": (1, 1)}, "five numbers"),
        ({"anchors": ()}, "at least one"),
        ({"anchors": (0.0,)}, "above 0"),
        ({"confidence": 1.0}, "below 1"),
    ],
)
def test_options_that_make_no_network_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)  # type: ignore[arg-type]


def scene() -> Batch:
    """Return a cube with two small balls and a large one, in noise."""
    axis = torch.arange(32.0)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    positions = torch.tensor([[9.3, 10.1, 22.7], [22.0, 22.4, 8.9], [21.0, 9.0, 24.2]])
    class_ids = torch.tensor([0, 1, 0])
    cube = 0.3 * torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(0))
    for position, class_id in zip(positions, class_ids, strict=True):
        cube -= 2.0 * ((grid - position).norm(dim=-1) < (3.0, 6.0)[class_id])
    return Batch(cube[None, None], [positions], [class_ids])


@pytest.mark.parametrize("mended", [True, False])
def test_it_learns_a_scene_by_heart(mended: bool) -> None:
    options = replace(MENDED if mended else TINY, width=4, blocks=(0, 1, 1, 0, 0), anchors=TINY.anchors)
    network, batch = tiny(options).train(), scene()
    network.prepare(torch.tensor([6.0, 12.0]))
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(80):
        optimiser.zero_grad()
        network.loss(network(batch.cubes), batch, halo=4).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.no_grad():
        found = network.cells(network(batch.cubes))
    core = ((found.centers > 4.0) & (found.centers < 28.0)).all(dim=1)  # in the padding nothing is learnt
    scores, index = (found.scores * core).flatten().topk(4)
    assert float(scores[2]) > 0.7 > float(scores[3])
    index = index[:3]
    places = found.centers[0].reshape(3, -1).T[index]
    order = torch.cdist(batch.positions[0], places).argmin(dim=1)
    assert float((places[order] - batch.positions[0]).norm(dim=1).max()) < 1.0
    assert found.class_ids.flatten()[index][order].tolist() == [0, 1, 0]
    assert found.diameters is not None
    assert found.diameters.flatten()[index][order].numpy() == pytest.approx([6.0, 12.0, 6.0], rel=0.15)
