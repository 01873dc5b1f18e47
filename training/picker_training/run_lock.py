"""The lock of a run's folder: two processes that train in it would overwrite each other's checkpoints."""

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from picker_runtime.atomic import output_error
from picker_runtime.errors import OutputError

FILE = "lock"
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
"""What file systems without locks say, such as Lustre as it often is mounted: a run there is not held."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be, for this process; the system lets go of it however the process ends.

    Raises:
        OutputError: E70 if another process holds it or the folder cannot be written, E71 if its disk is full.
    """
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    except OSError as error:
        raise output_error(path, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            problem = "another process is training in it"
            raise OutputError(
                70, str(folder), problem, "wait for it to end, or choose another folder with -o"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise output_error(path, error) from error
        yield
