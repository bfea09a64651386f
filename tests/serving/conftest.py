"""Two tiny versions of one real classifier, served by a real pool."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inhouse.core.errors import NotFound
from inhouse.serving.pool import Pool
from inhouse.testing.models import tiny_classifier


@dataclass
class Shelf:
    """Model versions in directories `<root>/<name>/<version>`; counts how often it was asked."""

    root: Path
    asked: int = 0

    def resolve(self, workspace_id: str, name: str, version: int) -> Path:
        self.asked += 1
        directory = self.root / name / str(version)
        if not directory.exists():
            raise NotFound(f"There is no version {version} of {name!r}.")
        return directory


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """`intent` version 1 knows leave and vpn; version 2 also knows that `tunnel` means vpn."""
    root = tmp_path / "shelf"
    words = {"holiday": "leave", "年假": "leave", "vpn": "vpn"}
    tiny_classifier(root / "intent" / "1", ["leave", "vpn"], words)
    tiny_classifier(root / "intent" / "2", ["leave", "vpn"], {**words, "tunnel": "vpn"})
    return Shelf(root)


@pytest.fixture
async def pool(shelf: Shelf) -> AsyncIterator[Pool]:
    pool = Pool(shelf)
    yield pool
    await pool.close()
