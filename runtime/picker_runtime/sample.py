"""The sample tomogram that comes with the package: simulated, unseen in training, with its truth."""

from pathlib import Path

from picker_runtime.atomic import check_writable_folder, write_bytes
from picker_runtime.errors import InputError

SAMPLES = Path(__file__).parent / "samples"


def copy_sample(folder: Path) -> list[Path]:
    """Copy the sample and its truth into a folder; return the paths of the copies.

    Raises:
        InputError: E12 if this installation has no sample.
        OutputError: E70 or E71 if it cannot be written.
    """
    sources = sorted(path for path in SAMPLES.rglob("*") if path.is_file())
    if not sources:
        raise InputError(12, str(SAMPLES), "holds no sample tomogram", "install picker-cryoet again")
    copies = [folder / source.relative_to(SAMPLES) for source in sources]
    for source, copy in zip(sources, copies, strict=True):
        check_writable_folder(copy.parent)
        write_bytes(copy, source.read_bytes())
    return copies
