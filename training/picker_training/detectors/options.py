"""What can be chosen of each detector's network; the sections `[point]` and `[paper]` of a configuration."""

from dataclasses import dataclass, replace

from picker_runtime.strict_json import require


@dataclass(frozen=True, kw_only=True)
class PointOptions:
    """The network of `point` and how it learns; the defaults are those of the bundled model.

    widths, blocks: of the stages at strides 2, 4 and 8, their channels and residual blocks on the way down.
    objectness: `own`, an output beside the classes; `classes`, the best of one sigmoid a class.
    class_window: edge of the cube of cells, odd, over which probabilities are averaged before the best class is taken.
    assignment: `gaussian`, a peak of objectness on each particle's cell, class and offset learnt in 3x3x3 cells;
    `own_cell`, that cell alone; `aligned`, the cells whose class and place agree best (`task_aligned.py`).
    objectness_loss: `focal` or `varifocal`; `aligned` needs the latter.
    class_weight: of the cross-entropy of classes. label_smoothing: share of it spread over all classes.
    deep_supervision: weight of the loss of a second head, at stride 4, that only training uses; 0 for none.
    sphere_weight: weight of the loss of a head that learns which class's sphere each cell lies in; 0 for none.
    """

    widths: tuple[int, ...] = (32, 64, 96)
    blocks: tuple[int, ...] = (0, 1, 2)
    objectness: str = "own"
    class_window: int = 1
    assignment: str = "gaussian"
    objectness_loss: str = "focal"
    class_weight: float = 2.0
    label_smoothing: float = 0.0
    deep_supervision: float = 0.0
    sphere_weight: float = 0.0

    def __post_init__(self) -> None:
        for key, numbers, least in (("widths", self.widths, 1), ("blocks", self.blocks, 0)):
            three = len(numbers) == 3 and min(numbers) >= least
            require(three, f"{key} are {list(numbers)}, expected three numbers from {least}, for strides 2, 4, 8")
        for key, known in POINT_CHOICES.items():
            value = getattr(self, key)
            require(value in known, f"{key} is {value!r}, expected one of {', '.join(known)}")
        for key in ("class_weight", "deep_supervision", "sphere_weight"):
            require(getattr(self, key) >= 0, f"{key} is {getattr(self, key)}, expected 0 or more")
        odd = self.class_window >= 1 and self.class_window % 2
        require(odd, f"class_window is {self.class_window}, expected an odd number of cells")
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, f"label_smoothing is {smoothing}, expected 0 to less than 1")
        together = self.assignment != "aligned" or self.objectness_loss == "varifocal"
        require(together, f"objectness_loss is {self.objectness_loss!r}, expected 'varifocal' with 'aligned'")


POINT_CHOICES = {
    "objectness": ("own", "classes"),
    "assignment": ("gaussian", "own_cell", "aligned"),
    "objectness_loss": ("focal", "varifocal"),
}

POINT_SIZES = {
    "n": PointOptions(widths=(16, 32, 48)),
    "s": PointOptions(),
    "m": PointOptions(widths=(64, 96, 112), blocks=(1, 2, 2)),
}
"""`s` is the bundled model's size; `n` takes a quarter of its operations, `m` five times as many.

Weights in float32 take 1.7, 6.8 and 14.7 MB: a file of a bundle that ships holds `n` and `s`, and `m` only in float16.
"""


def with_size(options: PointOptions, size: str) -> PointOptions:
    """Return the options with the widths and blocks of a size of `POINT_SIZES`."""
    return replace(options, widths=POINT_SIZES[size].widths, blocks=POINT_SIZES[size].blocks)


@dataclass(frozen=True, kw_only=True)
class UNetOptions:
    """The network of `unet`: width of each level, the finest first, and the radii of the balls it learns from.

    radii_voxels: one for each class; none: a part of each particle's own.
    """

    widths: tuple[int, ...] = (8, 16, 32, 64)
    radii_voxels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        few = 2 <= len(self.widths) <= 4 and min(self.widths) >= 1
        require(few, f"widths are {list(self.widths)}, expected two to four numbers from 1")
        radii = self.radii_voxels
        require(min(radii, default=1.0) > 0, f"radii_voxels are {list(radii)}, expected numbers above 0")


@dataclass(frozen=True, kw_only=True)
class PaperOptions:
    """The network of `paper` and what is mended of it; with every option as it is, it is the published one.

    width: channels at stride 1; every stage doubles them. blocks: residual blocks at strides 1, 2, 4, 8, 16.
    anchors: edges of the boxes that sizes are told from, voxels; by default those that `picker-training anchors` gives
    for the templates of the twelve classes of SHREC 2020 at 10 angstrom.
    linear_output: no BatchNorm and LeakyReLU behind the last layer.
    own_cell: a particle is learnt in its own cell, not by whichever prediction overlaps it most.
    padding_left_out: cells in the padding are left out of the loss, as the paper has it; its code counts them.
    padding_particles_ignored: predictions that overlap a particle in the padding are no background.
    class_in_score: a candidate's score has the probability of its class in it.
    confidence: what scores no more is no candidate; 0 leaves the choice to the thresholds of the classes.
    smooth_box_loss: smooth L1 of place and size, as in the public code; else the paper's squared error.
    """

    width: int = 32
    blocks: tuple[int, ...] = (4, 8, 8, 8, 8)
    anchors: tuple[float, ...] = (6.0, 9.4, 14.8)
    linear_output: bool = False
    own_cell: bool = False
    padding_left_out: bool = True
    padding_particles_ignored: bool = False
    class_in_score: bool = False
    confidence: float = 0.5
    smooth_box_loss: bool = False

    def __post_init__(self) -> None:
        even = self.width >= 2 and self.width % 2 == 0
        require(even, f"width is {self.width}, expected an even number from 2")
        five = len(self.blocks) == 5 and min(self.blocks) >= 0
        require(five, f"blocks are {list(self.blocks)}, expected five numbers from 0, for strides 1 to 16")
        edges = self.anchors
        require(edges and min(edges) > 0, f"anchors are {list(edges)}, expected at least one number above 0")
        require(0 <= self.confidence < 1, f"confidence is {self.confidence}, expected 0 or more, below 1")


MENDED = PaperOptions(
    linear_output=True, own_cell=True, padding_particles_ignored=True, class_in_score=True, confidence=0.0
)
"""The published network with its defects mended."""
