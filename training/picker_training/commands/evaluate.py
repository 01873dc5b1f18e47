"""The command `evaluate`."""

import json

from picker_training.evaluation import options, rules
from picker_training.evaluation.hits import ZFrame


def evaluate(
    rule: options.RuleName,
    truth: options.Truths,
    picks: options.PicksFiles,
    z_frame: options.Frame = ZFrame.SLAB,
    z_offset: options.Offset = 0,
    padding: options.Padding = 0,
    mask: options.Mask = rules.DEFAULT_MASK,
    diameter: options.Diameters = None,
    model: options.Model = rules.DEFAULT_MODEL,
    voxel_size: options.VoxelSize = None,
    radius: options.Radii = None,
    weight: options.Weights = None,
    plot: options.Plot = None,
    as_json: options.AsJson = False,
) -> None:
    """Score a picks file against a truth."""
    from picker_runtime.atomic import write_text
    from picker_training.evaluation.plot import f1_against_mass
    from picker_training.evaluation.report import table
    from picker_training.evaluation.scoring import score_files

    chosen = rules.Options(
        z_frame=z_frame,
        z_offset=z_offset,
        padding=padding,
        mask=mask,
        diameters=rules.parse_by_class("--diameter", diameter),
        model=model,
        voxel_size=voxel_size,
        radii=rules.parse_by_class("--radius", radius),
        weights=rules.parse_by_class("--weight", weight, zero=True),
    )
    score = score_files(rule, truth, picks, chosen)
    if plot:
        write_text(plot, f1_against_mass(score.class_f1, title=f"class F1 against mass, rule {rule}"))
    print(json.dumps({"rule": rule, **score.to_json()}) if as_json else table(score))
