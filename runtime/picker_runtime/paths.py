"""What stands at a path; what may not be looked at, or has no possible name, is not there."""

from pathlib import Path


def is_file(path: Path) -> bool:
    """Tell whether a file stands there that can be seen."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Tell whether a folder stands there that can be seen."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
