"""What a file holds, in words: a tomogram, the record of a detection, or a model."""

from pathlib import Path

from picker_runtime.bundle import Bundle, known_models
from picker_runtime.errors import one_line
from picker_runtime.intensity import NormalisedSource, measure
from picker_runtime.mrc_header import ByteSign
from picker_runtime.paths import is_folder
from picker_runtime.polarity import seen_polarity
from picker_runtime.records import DetectionRecord
from picker_runtime.tomogram import Tomogram


def describe(path: Path, *, voxel_size: float | None = None, mode0: ByteSign | None = None) -> str:
    """Return several lines about a tomogram, a `<stem>.json`, or a model's name or folder.

    Raises:
        InputError: if it is none of them or cannot be used, as `detect` would say.
        ModelError: E50 to E53 for a folder that is no sound model.
    """
    folder = is_folder(path)
    if folder or str(path) in known_models():
        rows = _model(Bundle.open(path if folder else str(path)))
    elif path.suffix == ".json":
        rows = _record(DetectionRecord.read(path))
    else:
        with Tomogram.open(path, voxel_size=voxel_size, mode0=mode0) as tomogram:
            rows = _tomogram(tomogram)
    texts = [(name, *map(one_line, values)) for name, *values in rows]
    return f"{one_line(str(path))}\n" + "\n".join(f"  {name:<12}  {', '.join(values)}" for name, *values in texts)


def _tomogram(tomogram: Tomogram) -> list[tuple[str, ...]]:
    z, y, x = tomogram.shape
    intensity = measure(tomogram)
    header = tomogram.header
    seen = seen_polarity(NormalisedSource(tomogram, intensity), tomogram.shape)
    rows: list[tuple[str, ...]] = [
        ("shape", f"{z} x {y} x {x} voxels (z, y, x)"),
        ("voxel size", f"{tomogram.voxel_size:.4g} A"),
        ("stored as", f"MRC mode {header['mode']} ({header['dtype']})"),
        ("centre", f"{intensity.center:.6g} (median)"),
        ("scale", f"{intensity.scale:.6g} (1.4826 x median absolute deviation)"),
        ("not finite", f"{intensity.non_finite_fraction:.3%}"),
        ("fill", "none" if intensity.fill is None else f"{intensity.fill:.6g}"),
        ("particles", f"look {seen}" if seen else "neither clearly dark nor clearly bright"),
    ]
    rows += [("label", label) for label in header["labels"]]
    return rows + [("warning", warning) for warning in tomogram.warnings]


def _record(record: DetectionRecord) -> list[tuple[str, ...]]:
    picks = [
        (name, f"{count} picks", f"threshold {record.thresholds[name]:g}") for name, count in record.counts.items()
    ]
    z, y, x = record.tomogram.shape
    precision = [str(record.options["precision"])] if "precision" in record.options else []  # older records have none
    return [
        ("tomogram", record.tomogram.path or record.tomogram.name),
        ("shape", f"{z} x {y} x {x} voxels (z, y, x)", f"{record.tomogram.voxel_size_angstrom:.4g} A"),
        ("model", f"{record.model.name} {record.model.version}", f"engine {record.engine}", *precision),
        *picks,
        ("candidates", f"{record.candidates} from score {record.floor:g}"),
        ("seconds", *(f"{stage} {seconds:.2f}" for stage, seconds in record.timings.items())),
        ("files", *record.outputs),
        *(("warning", warning) for warning in record.warnings),
    ]


def _model(bundle: Bundle) -> list[tuple[str, ...]]:
    card = bundle.card
    return [
        ("model", f"{card.name} {card.version}", card.licence),
        ("voxel size", f"{card.voxel_size_angstrom:g} A"),
        ("particles", card.polarity),
        ("precisions", *bundle.graphs),
        ("tile", " x ".join(map(str, card.tile)), f"halo {card.halo}"),
        *((c.name, f"{c.diameter_angstrom:g} A", f"threshold {c.threshold:g}") for c in card.classes),
    ]
