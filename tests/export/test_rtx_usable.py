"""The job that tells whether TensorRT-RTX is usable: on a GPU that returns what it likes."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from picker_runtime.bundle import Bundle

JOB = Path(__file__).resolve().parents[2] / "export/jobs/rtx_usable.py"
MODEL = Bundle.open("shrec12").folder


@pytest.fixture
def job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rtx_usable", JOB)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("output", "added", "error"),
    [("scores", 0.009, None), ("scores", 0.011, "a score differs by 0.011"), ("scores", np.nan, "scores not finite"),
     ("centers", np.inf, "centers not finite")],
)  # fmt: skip
def test_it_is_usable_if_its_outputs_are_those_of_the_cpu(
    output: str, added: float, error: str | None, job: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(runtime: None, plan: bytes, inputs: dict[str, Any], shapes: dict[str, Any]) -> tuple[dict[str, Any], float]:
        session = onnxruntime.InferenceSession(MODEL / "model.onnx", providers=["CPUExecutionProvider"])
        found = dict(zip(job.OUTPUTS, session.run(list(job.OUTPUTS), inputs), strict=True))
        found[output].flat[0] += added
        return found, 1.0

    monkeypatch.setattr(job, "build", lambda graph, edge: (None, b"plan", {"tensorrt_rtx": "1"}))
    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    file = tmp_path / "rtx.json"
    monkeypatch.setattr("sys.argv", ["job", "--model", str(MODEL), "--edge", "32", "--output", str(file)])
    with pytest.raises(SystemExit) as ended:
        job.main()
    assert ended.value.code == (1 if error else 0)
    result = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert result["usable"] == (error is None)
    assert (error or "") in result.get("error", "")
    assert result["step"] == ("compare" if error else "done")
