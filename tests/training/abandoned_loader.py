"""A program that takes one batch from busy workers and leaves the rest, several times: how they end is a race."""

import numpy as np

from picker_training.augmentation import Augmentation, Sample
from picker_training.loading import batches


class Blank:
    """A pool, and a source, of empty cubes."""

    seed = 1
    size = 1

    def __getitem__(self, number: int) -> "Blank":
        return self

    def cut(self, augmentation: Augmentation, rng: np.random.Generator) -> Sample:
        cube = np.zeros((augmentation.crop,) * 3, np.float32)
        return Sample(cube=cube, positions=np.zeros((0, 3), np.float32), class_ids=np.zeros(0, np.int64))


if __name__ == "__main__":
    for _ in range(4):
        stream = batches(Blank(), Augmentation(crop=96, halo=8), batch=8, first_step=0, steps=500, workers=2)
        next(stream)
        stream.close()
    print("left")
