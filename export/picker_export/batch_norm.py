"""BatchNorm: its statistics as the exported graph will meet them."""

from collections.abc import Iterator

import torch
from torch import nn

from picker_training.loading import Batch


def reestimate_batch_norm(network: nn.Module, batches: Iterator[Batch]) -> None:
    """Replace the running statistics of every BatchNorm by plain averages over batches of uniformly placed crops."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch.cubes)
    network.eval()
