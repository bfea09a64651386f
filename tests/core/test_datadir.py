import subprocess
import sys
from pathlib import Path

import pytest

from inhouse.core.datadir import DataDirectory, DataDirectoryBusy, DataDirectoryUnusable

HOLD = """
import sys, time
from pathlib import Path
from inhouse.core.datadir import DataDirectory
DataDirectory(Path(sys.argv[1])).lock()
"""


def test_a_second_server_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "var")
    directory.lock()

    second = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "var")], capture_output=True, text=True)

    assert "DataDirectoryBusy: Another server (process" in second.stderr
    directory.release()


def test_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "var")
    directory.lock()
    with pytest.raises(DataDirectoryBusy):
        DataDirectory(tmp_path / "var").lock()

    directory.release()

    directory.lock()
    directory.release()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(DataDirectoryUnusable, match="file/var"):
        DataDirectory(tmp_path / "file" / "var").lock()
