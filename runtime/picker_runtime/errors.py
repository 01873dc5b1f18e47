"""Every error a user can meet, with its code and the exit status it leads to.

    PickerError                     exit 1
    ├── UsageError      E80-E89     exit 2   the command line or configuration
    ├── InputError      E10-E49     exit 3   a tomogram, a mask or a picks file
    ├── ModelError      E50-E59     exit 4   the model bundle
    ├── EngineError     E60-E69     exit 5   the engine, the GPU or its driver
    └── OutputError     E70-E79     exit 6   the output folder or its disk

An error says which file, what was found, what was expected and what to type next, on one line.
"""

CODES: dict[int, str] = {
    10: "not an MRC file",
    11: "compressed or other known format that must be converted first",
    12: "cannot be opened",
    13: "changed while it was read",
    20: "absurd header",
    21: "truncated",
    22: "unsupported MRC mode",
    30: "voxel size differs from the model's",
    31: "voxel size missing or invalid",
    32: "voxel size differs between the axes",
    33: "a 2D image",
    34: "a stack of volumes",
    35: "axis order is not x, y, z",
    36: "too small on an axis",
    41: "too many non-finite voxels",
    42: "no signal",
    44: "picks file unreadable",
    45: "mask does not fit",
    46: "truth unreadable",
    47: "no files can be called so",
    50: "model not found",
    51: "model card invalid",
    52: "model file damaged",
    53: "model graph refused",
    60: "engine not usable here",
    61: "engine failed",
    62: "engine cannot be built",
    63: "engine's process lost",
    70: "output not writable",
    71: "disk full",
    80: "bad option",
    81: "equal stems",
    82: "extra not installed",
    83: "configuration invalid",
    84: "data for training missing or unusable",
}
"""What each code means; the one table."""

EXIT_PRECEDENCE = (1, 4, 5, 6, 3)
"""With several causes the first of these is the exit status."""


class PickerError(Exception):
    """An error with a code, the file or thing it is about, what is wrong and how to mend it."""

    exit_status = 1

    def __init__(self, code: int, subject: str, problem: str, fix: str) -> None:
        super().__init__(code, subject, problem, fix)
        self.code = code
        self.subject = subject
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return one_line(f"E{self.code} {self.subject}: {self.problem}. Fix: {self.fix}.")


class UsageError(PickerError):
    """The command line or a configuration file asks for something that makes no sense."""

    exit_status = 2


class InputError(PickerError):
    """One input cannot be used; a batch goes on without it."""

    exit_status = 3


class ModelError(PickerError):
    """The model bundle is absent, damaged or not one of ours."""

    exit_status = 4


class EngineError(PickerError):
    """The engine asked for cannot be used, or failed."""

    exit_status = 5


class OutputError(PickerError):
    """Nothing can be written where the results should go."""

    exit_status = 6


def one_line(text: str) -> str:
    """Return the text with control characters escaped, so that no file name can forge a line or move a cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def worst_status(statuses: list[int]) -> int:
    """Return the exit status that stands for all of them (0 when there is none)."""
    return next((status for status in EXIT_PRECEDENCE if status in statuses), 0)
