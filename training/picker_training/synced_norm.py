"""BatchNorm over the cubes of all ranks, as if one process had seen the whole batch."""

import torch
from torch import Tensor, distributed, nn

AXES = (0, 2, 3, 4)


def synchronise_batch_norm(network: nn.Module) -> None:
    """Make every BatchNorm of a network see the cubes of all ranks; its weights, buffers and their names stay.

    On GPUs this is PyTorch's own, which does not run on CPUs.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm3d:
                setattr(parent, name, _synchronised(child))


def _synchronised(norm: nn.BatchNorm3d) -> nn.Module:
    if norm.weight.is_cuda:
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return converted
    twin = _OverRanks(norm.num_features, eps=norm.eps, momentum=norm.momentum).to(norm.weight.device)
    twin.load_state_dict(norm.state_dict())
    return twin.train(norm.training)


class _OverRanks(nn.BatchNorm3d):
    """BatchNorm whose mean and variance are those of all ranks' cubes."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        cubes = input.float()
        count = _summed(torch.tensor(cubes.numel() / cubes.shape[1]))
        mean = _summed(cubes.sum(AXES)) / count
        centred = cubes - mean.view(-1, 1, 1, 1)
        variance = _summed((centred**2).sum(AXES)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(-1, 1, 1, 1) + self.bias.view(-1, 1, 1, 1)).to(input.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """A sum over the ranks through which gradients flow: each rank's loss depends on every rank's cubes."""

    @staticmethod
    def forward(_context: object, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def _summed(value: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total
