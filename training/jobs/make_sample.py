"""Job: make the packaged sample tomogram and its truth again, from the preset `sample`.

python training/jobs/make_sample.py --templates DIR [-o runtime/picker_runtime/samples]
"""

import argparse
from pathlib import Path

import numpy as np

from picker_runtime.mrc import write_mrc
from picker_training.datasets.shrec import write_truth
from picker_training.simulation import find_preset, truth_of, zxz_angles
from picker_training.simulator.presets import SHREC2020_CLASSES
from picker_training.simulator.scene import simulate
from picker_training.simulator.templates import load_templates

SAMPLES = Path(__file__).resolve().parents[2] / "runtime" / "picker_runtime" / "samples"
NAME = "shrec12_sample"


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, default=SAMPLES)
    options = parser.parse_args()
    preset = find_preset("sample")
    scene = simulate(preset.spec, load_templates(options.templates, SHREC2020_CLASSES), preset.seeds[0])
    volume = scene.tomogram(preset.snrs[0])
    scaled = ((volume - volume.mean()) / volume.std()).astype(np.float16)
    options.output.mkdir(parents=True, exist_ok=True)
    write_mrc(options.output / f"{NAME}.mrc", scaled, scene.voxel_size)
    write_truth(
        options.output / NAME,
        truth_of(scene),
        voxel_size=scene.voxel_size,
        volumes={"occupancy_mask": scene.occupancy},
        angles=zxz_angles(scene.placements),
        compress=True,
    )


if __name__ == "__main__":
    main()
