"""The network as an engine of the runtime, so that what is validated during training is what ships."""

from pathlib import Path

import torch

from picker_runtime.engines.cpu import INPUTS, OUTPUTS, Arrays, CpuEngine
from picker_training.detectors.decode import DecodedDetector
from picker_training.device import float32_convolutions


class TorchEngine(CpuEngine):
    """Runs a detector in PyTorch, in float32, on the device that its weights are on."""

    name = "torch"

    def __init__(self, detector: DecodedDetector, *, batch: int = 1) -> None:
        super().__init__(Path("detector"), batch=batch)
        self._detector = detector.eval()

    def _open(self) -> tuple[list[str], list[str]]:
        return list(INPUTS), list(OUTPUTS)

    def infer(self, inputs: Arrays) -> Arrays:
        """Run the detector; return its outputs by name."""
        device = next(self._detector.parameters()).device
        with torch.no_grad(), float32_convolutions():
            outputs = self._detector(*(torch.from_numpy(inputs[name]).to(device) for name in INPUTS))
        return {name: value.cpu().numpy() for name, value in zip(OUTPUTS, outputs, strict=True)}

    def _close(self) -> None:
        return None
