"""The data directory belongs to one server at a time."""

import fcntl
import os
from pathlib import Path
from typing import IO

from inhouse.core.errors import Conflict, Misconfigured


class DataDirectoryBusy(Conflict):
    """Another server has this data directory."""


class DataDirectoryUnusable(Misconfigured):
    """The data directory cannot be written."""


class DataDirectory:
    """A locked data directory. The lock is the kernel's: it goes with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def lock(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)
            file = (self.path / "lock").open("a+")
        except OSError as error:
            raise DataDirectoryUnusable(
                f"The data directory {str(self.path)!r} cannot be written: {error.strerror}.",
                hint="Give another one with --home or INHOUSE_HOME, or change its permissions.",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            file.close()
            raise DataDirectoryBusy(
                f"Another server (process {owner}) uses the data directory {str(self.path)!r}.",
                hint="Stop it first, or start this one with another --home.",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
