"""The rules of the SHREC challenges, as their organisers' scripts behave; one module a year."""

from picker_training.evaluation.hits import FRAME_OFFSET, ZFrame, dilated_at
from picker_training.evaluation.paper import PaperScore, score_paper
from picker_training.evaluation.shrec2019 import CLASSES_2019, score_2019
from picker_training.evaluation.shrec2020 import CLASSES_2020, score_2020, score_2020_copy
from picker_training.evaluation.shrec2021 import CLASSES_2021, MaskTooSmallError, score_2021, score_2021_clean
from picker_training.evaluation.shrec_score import ShrecScore

__all__ = [
    "CLASSES_2019",
    "CLASSES_2020",
    "CLASSES_2021",
    "FRAME_OFFSET",
    "MaskTooSmallError",
    "PaperScore",
    "ShrecScore",
    "ZFrame",
    "dilated_at",
    "score_2019",
    "score_2020",
    "score_2020_copy",
    "score_2021",
    "score_2021_clean",
    "score_paper",
]
