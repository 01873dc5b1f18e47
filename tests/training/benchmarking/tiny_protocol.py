"""A protocol of a few thousand voxels, and the configuration that trains on it in a second."""

from training.phantoms import CLASSES, SMALL

from picker_training.benchmarking.method import Work
from picker_training.benchmarking.protocol import Difficulty, Protocol
from picker_training.config import DataSection, ModelSection, OptimiserSection, TrainingConfig
from picker_training.detectors.options import PointOptions

TINY = Protocol(
    name="tiny",
    classes=CLASSES,
    spec=SMALL,
    training_seeds=(1, 2),
    calibration_seed=3,
    test_seed=4,
    training_snrs=(0.5, 2.0),
    difficulties=(Difficulty(name="easy", snr=2.0), Difficulty(name="hard", snr=0.2)),
    minutes=0.0,
    seeds=(1,),
    paper_width=0.125,
    rotations=10,
    timing_shape=(32, 64, 48),
)


def tiny_config(work: Work) -> TrainingConfig:
    """Return a configuration of crops that fit into the scenes."""
    return TrainingConfig(
        seed=work.seed,
        workers=0,
        model=ModelSection(name="tiny", classes=CLASSES),
        point=PointOptions(widths=(8, 8, 8), blocks=(0, 0, 0)),
        data=DataSection(crop=32, halo=4, snr=work.scenes.protocol.training_snrs),
        optimiser=OptimiserSection(batch=1, checkpoint_every=2),
    )
