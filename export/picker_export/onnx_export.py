"""ONNX export: the network with its normalisation and decoding as one self-contained float32 graph."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torch.export import Dim
from torch.nn.utils.fusion import fuse_conv_bn_eval

from picker_runtime.engines.cpu import INPUTS, OUTPUTS
from picker_training.detectors.decode import DecodedDetector

OPSET = 20
MAX_BATCH = 64
MAX_EDGE = 2048


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every BatchNorm into the convolution before it, in place; both must be neighbours in a Sequential."""
    for child in module.modules():
        if not isinstance(child, nn.Sequential):
            continue
        for i in range(len(child) - 1):
            convolution, norm = child[i], child[i + 1]
            if isinstance(convolution, nn.Conv3d) and isinstance(norm, nn.BatchNorm3d):
                child[i] = fuse_conv_bn_eval(convolution.eval(), norm.eval())
                child[i + 1] = nn.Identity()


def export_graph(detector: DecodedDetector, path: Path) -> None:
    """Write the graph with dynamic batch and edges (multiples of the alignment); the detector's BatchNorm is folded."""
    fold_batch_norm(detector)
    alignment = detector.network.alignment
    edge = max(alignment * 5, alignment * round(np.cbrt(8 * detector.max_candidates) / alignment + 1))
    example = (torch.zeros(2, 1, edge, edge + alignment, edge + 2 * alignment), torch.zeros(2), torch.ones(2))
    batch = Dim("n", min=1, max=MAX_BATCH)
    edges = {i + 2: alignment * Dim(name, min=2, max=MAX_EDGE // alignment) for i, name in enumerate("dhw")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            detector.cpu().eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: batch, **edges}, {0: batch}, {0: batch}),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _strip(model: onnx.ModelProto) -> None:
    """Remove what only describes the exporter's internals: paths of source files, notes on every node."""
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
        value.doc_string = ""
    model.producer_name, model.producer_version = "picker", ""
