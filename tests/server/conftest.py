"""A whole server, as `inhouse up` starts it: a process of its own on a free port, with a little of everything in it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from inhouse.access.identity import Identity
from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.models.registry import ModelRegistry
from inhouse.server.migrations import migrate
from inhouse.testing.models import tiny_classifier

ROWS = b"text,label\n" + b"".join(
    b"%s number %d,%s\n" % (word, number, label)
    for word, label in ((b"great work", b"praise"), (b"broken thing", b"blame"))
    for number in range(10)
)
HANDBOOK = b"# Annual leave\n\nEverybody has 15 days of annual leave a year. Ask your manager two weeks ahead.\n"
ADMIN_PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Server:
    """A running server. `stranger` is a key with every permission in another workspace."""

    url: str
    home: Path
    log: Path
    process: "subprocess.Popen[bytes]"
    admin: str
    stranger: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A client that shows this key, the administrator's by default; "" shows none."""
        key = self.admin if key is None else key
        shown = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers={**shown, **headers}, timeout=20, trust_env=False, verify=False)

    def key(self, *scopes: str, **fields: Any) -> str:
        """A new key with these permissions only."""
        with self.client() as admin:
            made = admin.post("/api/v1/keys", json={"name": "test", "scopes": list(scopes), **fields})
        return made.raise_for_status().json()["key"]

    def raw(self, request: bytes, *, within_s: float = 4.0) -> bytes:
        """Send these very bytes and return what comes back until the server closes, or is silent for too long."""
        answer = bytearray()
        with socket.create_connection(("127.0.0.1", self.port), timeout=within_s) as connection:
            try:
                connection.sendall(request)
                while part := connection.recv(1 << 16):
                    answer += part
            except (TimeoutError, ConnectionError):
                pass
        return bytes(answer)


def command(*arguments: str, home: Path) -> list[str]:
    return [sys.executable, "-m", "inhouse.cli", "--home", str(home), *arguments]


@contextmanager
def started(
    home: Path, *, port: int = 0, environment: Mapping[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """`inhouse up` on a data directory until the block ends: the process, and its address."""
    home.parent.mkdir(parents=True, exist_ok=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("INHOUSE_")}
    with (home.parent / "out.txt").open("wb") as out, (home.parent / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command("up", "--port", str(port), home=home),
            stdout=out,
            stderr=log,
            env={**env, "INHOUSE_ADMIN_PASSWORD": ADMIN_PASSWORD, **(environment or {})},
        )
    try:
        yield process, _address(process, home.parent)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: "subprocess.Popen[bytes]", directory: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for line in (directory / "out.txt").read_text().splitlines():
            if line.startswith("inhouse is ready: "):
                return line.removeprefix("inhouse is ready: ")
        time.sleep(0.05)
    raise AssertionError(f"The server did not start:\n{(directory / 'log.txt').read_text()}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests: each makes things of its own, and changes nothing that it did not make."""
    home = tmp_path_factory.mktemp("server") / "home"
    stranger = furnish(home)
    with started(home, environment={"INHOUSE_LOG_LEVEL": "DEBUG"}) as (process, url):
        admin = (home / "admin.key").read_text().strip()
        running = Server(url, home, home.parent / "log.txt", process, admin, stranger)
        with running.client() as client:
            fill(client)
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def nobody(server: Server) -> Iterator[httpx.Client]:
    """Somebody without credentials."""
    with server.client("") as client:
        yield client


@pytest.fixture
def stranger(server: Server) -> Iterator[httpx.Client]:
    """Somebody with every permission, in another workspace."""
    with server.client(server.stranger) as client:
        yield client


def furnish(home: Path) -> str:
    """Put in what no route makes: a model without training it, and a key of another workspace, which is returned."""
    home.mkdir(mode=0o700)
    db = Database(f"sqlite:///{home / 'inhouse.db'}")
    migrate(db)
    artifact = tiny_classifier(home.parent / "artifact", ["praise", "blame"], {"great": "praise", "broken": "blame"})
    registry = ModelRegistry(db, Blobs(str(home / "blobs")), home / "cache" / "models")
    lineage = {"dataset": "moods@v1", "recipe": "classify", "config": {}, "seed": 0}
    registry.register(Principal.system(), "mood", artifact, kind="classify", metrics={}, lineage=lineage)
    _, key = Identity(db).add_key(Principal("elsewhere", "user_eve", frozenset({"*"})), "stranger", ("*",))
    db.dispose()
    return key


def fill(client: httpx.Client) -> None:
    """Put in what users put in: a dataset, a document, a workflow and its app; and let the model answer."""
    for method, path, body in (
        ("POST", "/datasets", {"data": {"name": "moods"}, "files": {"file": ("moods.csv", ROWS)}}),
        ("POST", "/knowledge", {"json": {"name": "handbook"}}),
        ("POST", "/knowledge/handbook/documents", {"files": {"files": ("leave.md", HANDBOOK)}}),
        ("POST", "/workflows", {"json": {"name": "desk", "graph": graph()}}),
        ("POST", "/apps", {"json": {"name": "desk", "workflow": "desk", "title": "Desk"}}),
        ("POST", "/releases", {"json": {"model": "mood", "version": 1}}),
    ):
        client.request(method, f"/api/v1{path}", **body).raise_for_status()
    wait_for_documents(client, "handbook")


def post_odd(client: httpx.Client, path: str, body: object) -> httpx.Response:
    """Post what JSON proper and httpx don't allow, too: NaN, and halves of characters."""
    return client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})


def wait_for_documents(client: httpx.Client, base: str) -> list[dict[str, Any]]:
    """The documents of a base, once each is ready or has failed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        documents = client.get(f"/api/v1/knowledge/{base}/documents").raise_for_status().json()["items"]
        if all(document["status"] in ("ready", "failed") for document in documents):
            return documents
        time.sleep(0.05)
    raise AssertionError(f"Documents of {base!r} are not done in time.")


def graph(**nodes: Any) -> dict[str, Any]:
    """A workflow in a line: classify, search, and let a model answer. Nodes can be put in another's place."""
    line = {
        "start": {"type": "start"},
        "mood": {"type": "classify", "model": "mood"},
        "search": {"type": "knowledge-retrieval", "dataset_ids": ["handbook"]},
        "llm": {
            "type": "llm",
            "model": {"name": "quote"},
            "prompt_template": [
                {"role": "system", "text": "{{#context#}}"},
                {"role": "user", "text": "{{#sys.query#}}"},
            ],
            "context": {"enabled": True, "variable_selector": ["search", "result"]},
        },
        "reply": {"type": "answer", "answer": "{{#llm.text#}}"},
    } | nodes
    ids = list(line)
    return {
        "nodes": [{"id": id, "data": data} for id, data in line.items()],
        "edges": [{"source": source, "target": target} for source, target in pairwise(ids)],
    }
