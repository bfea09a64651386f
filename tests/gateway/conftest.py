"""A gateway in front of a scripted model server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inhouse.core.db import Database
from inhouse.core.secrets import Secrets
from inhouse.gateway.gateway import Gateway
from inhouse.testing.upstream import ScriptedUpstream, scripted_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


@pytest.fixture
async def gateway(sqlite: Database, tmp_path: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), ollama_url="http://127.0.0.1:1/v1")
    yield gateway
    await gateway.close()
