"""What the data room gets of the others."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inhouse.core.db import Database
from inhouse.core.errors import NotFound
from inhouse.core.principal import PermissionMissing, Principal
from inhouse.core.secrets import Secrets
from inhouse.gateway.gateway import Gateway
from inhouse.server.curation import Writer

ASKED = [{"role": "user", "content": "How do I reset my password?"}]


@pytest.fixture
async def writer(sqlite: Database, tmp_path: Path) -> AsyncIterator[Writer]:
    gateway = Gateway(sqlite, Secrets(tmp_path / "secret.key"), ollama_url="http://127.0.0.1:1/v1")
    gateway.refresh()
    yield Writer(gateway)
    await gateway.close()


async def test_a_model_of_the_gateway_writes_and_its_tokens_are_counted(writer: Writer, principal: Principal) -> None:
    written = await writer.write(principal, "quote", ASKED, temperature=0.5, max_tokens=50)

    assert written.text
    assert written.tokens > 0


async def test_an_unknown_model_is_not_found(writer: Writer, principal: Principal) -> None:
    with pytest.raises(NotFound):
        await writer.write(principal, "nonsense", ASKED, temperature=0.5, max_tokens=50)


async def test_who_may_not_ask_models_gets_nothing_written(writer: Writer) -> None:
    reader = Principal("default", "user_bob", frozenset({"dataset:*"}))

    with pytest.raises(PermissionMissing):
        await writer.write(reader, "quote", ASKED, temperature=0.5, max_tokens=50)
