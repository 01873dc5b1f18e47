"""Supervision: all that the network `point` learns from a batch, at each of its heads."""

from torch import Tensor
from torch.nn import functional

from picker_training.detectors.assignment import Targets, assign
from picker_training.detectors.base import Loss
from picker_training.detectors.loss import point_loss
from picker_training.detectors.options import PointOptions
from picker_training.detectors.prediction import Prediction, class_probabilities
from picker_training.detectors.spheres import sphere_loss, sphere_targets
from picker_training.detectors.task_aligned import realign
from picker_training.loading import Batch


def supervise(
    prediction: Prediction, batch: Batch, options: PointOptions, *, halo: int, stride: int, diameters: Tensor
) -> Loss:
    """Return the loss of a batch of cubes whose outer `halo` voxels are context; diameters `(classes,)` in voxels."""
    targets = _targets(batch, options, halo=halo, stride=stride, like=prediction.objectness)
    main = point_loss(prediction, _aligned(prediction, targets, batch, options, stride, diameters), options)
    parts, total = dict(main.parts), main.total
    if prediction.deep is not None:
        coarse = _targets(batch, options, halo=halo, stride=2 * stride, like=prediction.deep.objectness)
        deep = prediction.deep
        parts["deep"] = point_loss(deep, _aligned(deep, coarse, batch, options, 2 * stride, diameters), options).total
        total = total + options.deep_supervision * parts["deep"]
    if prediction.spheres is not None:
        inside = sphere_targets(batch.positions, batch.class_ids, diameters, targets.counts, stride)
        parts["spheres"] = sphere_loss(prediction.spheres, inside, targets.counts)
        total = total + options.sphere_weight * parts["spheres"]
    return Loss(parts, total)


def _targets(batch: Batch, options: PointOptions, *, halo: int, stride: int, like: Tensor) -> Targets:
    _, _, depth, height, width = batch.cubes.shape
    return assign(
        batch.positions, batch.class_ids, (depth, height, width),
        halo=halo, stride=stride, ignored=batch.ignored, unknown=batch.unknown, device=like.device,
        own_cell=options.assignment == "own_cell",
    )  # fmt: skip


def _aligned(
    prediction: Prediction, targets: Targets, batch: Batch, options: PointOptions, stride: int, diameters: Tensor
) -> Targets:
    if options.assignment != "aligned":
        return targets
    scores = class_probabilities(prediction, options)
    if options.objectness == "own":
        scores = scores * functional.sigmoid(prediction.objectness).unsqueeze(1)
    return realign(
        targets, scores.detach(), prediction.offset.detach(), batch.positions, batch.class_ids,
        diameters, stride,
    )  # fmt: skip
