"""Language models as operators run them: a real server, a tiny model, the SDK and the command line."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from inhouse.client import Client
from inhouse.core.children import python
from inhouse.core.errors import InhouseError
from inhouse.testing.language import tiny_adapter, tiny_language_model
from servers import Server, plain_environment, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("models") / "home") as server:
        yield server


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    return tiny_adapter(tmp_path_factory.mktemp("weights") / "adapter", tiny)


@pytest.fixture
def api(server: Server) -> Iterator[Client]:
    with server.client() as api:
        yield api


@pytest.fixture
def inhouse(server: Server) -> Command:
    """Runs a command against the server and gives what it shows."""

    def run(*words: str, exit_code: int = 0) -> Any:
        command = python("inhouse.cli", "--url", server.url, "--key", server.key, "--output", "json", *words)
        result = subprocess.run(command, env=plain_environment(), capture_output=True, text=True, check=False)
        assert result.returncode == exit_code, result.stderr
        return json.loads(result.stdout) if result.stdout.strip() else None

    return run


def said(server: Server, model: str) -> str:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], max_tokens=8, temperature=0
        )
    return answer.choices[0].message.content or ""


def test_the_client_runs_models(server: Server, api: Client, tiny: Path, adapter: Path):
    models = api.language_models
    loaded = models.load("told", str(tiny), runtime="transformers", max_batch=2)
    adapted = models.add_adapter("told", "legal", str(adapter))
    plain, legal = said(server, "told"), said(server, "told:legal")
    models.remove_adapter("told", "legal")
    bare = models.get("told")
    listed = [one["name"] for one in models.list()]
    models.unload("told")

    assert (loaded["state"], loaded["kind"], loaded["runtime"]) == ("loaded", "chat", "transformers")
    assert list(adapted["adapters"]) == ["legal"]
    assert plain != legal
    assert bare["adapters"] == {}
    assert listed == ["told"]
    assert models.list() == []
    assert {one["name"]: one["missing"] for one in models.runtimes()}["transformers"] == ""


def test_the_client_tells_what_cannot_be_loaded(api: Client, tmp_path: Path):
    with pytest.raises(InhouseError):
        api.language_models.load("nothing", str(tmp_path / "nothing"))
    with pytest.raises(InhouseError):
        api.language_models.get("nothing")


def test_the_command_line_runs_models(server: Server, inhouse: Command, tiny: Path, adapter: Path):
    [loaded] = inhouse("llm", "load", "told", str(tiny), "--runtime", "transformers", "--max-batch", "2")
    [adapted] = inhouse("llm", "adapter", "add", "told", "legal", str(adapter))
    [listed] = inhouse("llm", "ls")
    text = said(server, "told:legal")
    inhouse("llm", "adapter", "rm", "told", "legal")
    [bare] = inhouse("llm", "ls")
    inhouse("llm", "unload", "told")

    assert loaded["state"] == "loaded"
    assert list(adapted["adapters"]) == ["legal"]
    assert (listed["name"], list(listed["adapters"]), bare["adapters"]) == ("told", ["legal"], {})
    assert text
    assert inhouse("llm", "ls") == []


def test_the_command_line_verifies_the_kept_requests(server: Server, inhouse: Command):
    inhouse("gateway", "set", "audit", "enabled=true", "chain=true")
    said(server, "quote")
    inhouse("gateway", "reset", "audit")  # which ends its files
    whole = inhouse("gateway", "verify")
    [file] = (server.home / "audit").rglob("*.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"model":"quote"', b'"model":"other"'))
    broken = inhouse("gateway", "verify", exit_code=1)

    assert whole == {"whole": True, "broken": ""}
    assert broken == {"whole": False, "broken": f"{file.parent.name}/{file.name}:2"}
