"""Job: compare detectors and baselines on one GPU, offline, by the protocol `full`.

    python training/jobs/benchmark.py --templates DIR -o DIR [--protocol full] [--detector NAME ...] [--minutes M]

Takes the options of `picker-training benchmark`, with `full` and `cuda` for its defaults. Needs PyTorch with CUDA,
numpy, scipy and typer; nothing of picker has to be installed. Call it again to go on: the output folder holds scenes,
checkpoints and finished rows.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("runtime", "training")]

DEFAULTS = ("--protocol", "full", "--device", "cuda")
"""Of options that may be given again, the last counts."""


def main() -> None:
    """Run the command with the options of a GPU and those given."""
    from picker_training import cli

    sys.argv[1:] = ["benchmark", *DEFAULTS, *sys.argv[1:]]
    cli.main()


if __name__ == "__main__":
    main()
