"""What must never be seen again: seeded everywhere a user can put it, looked for everywhere anybody can look."""

import ast
import asyncio
import sqlite3
from pathlib import Path

import httpx
import pytest

from inhouse import access
from inhouse.access import keys
from inhouse.core.secrets import Secrets
from inhouse.testing.upstream import fails, scripted_upstream
from server.conftest import ADMIN_PASSWORD, Server

UPSTREAM_KEY = "sk-canary-9e107d9d372bb6826bd81d3542a419d6"
PASSWORD = "canary password 7391"
QUESTION = "canaryquestion4711"


@pytest.fixture(scope="module")
def secrets(server: Server) -> dict[str, str]:
    """Each secret after it was used in every way there is; by name, what must not be found."""
    return asyncio.run(_used(server))


async def _used(server: Server) -> dict[str, str]:
    fresh = server.key("app:use")
    headers = {"authorization": f"Bearer {server.admin}"}
    async with (
        scripted_upstream(*[fails(401, {"error": {"message": UPSTREAM_KEY}})] * 8, models=["canary-model"]) as upstream,
        httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20, trust_env=False) as api,
    ):
        connected = {"name": "canary", "url": upstream.url, "key": UPSTREAM_KEY}
        (await api.post("/api/v1/upstreams", json=connected)).raise_for_status()
        user = {"name": "canary", "role": "user", "password": PASSWORD}
        (await api.post("/api/v1/users", json=user)).raise_for_status()
        link = (await api.post("/api/v1/users/canary/link")).json()["path"].partition("token=")[2]
        signed_in = await api.get(f"/api/v1/auth/link?token={link}")
        await api.post("/api/v1/auth/login", json={"username": "canary", "password": PASSWORD + "?"})
        await api.post("/api/v1/upstreams/probe", json={"url": "http://127.0.0.1:9/v1", "key": UPSTREAM_KEY})
        await api.post("/api/v1/upstreams/probe", json={"url": f"http://me:{UPSTREAM_KEY}@127.0.0.1:9/v1"})
        body = {"model": "canary-model", "messages": [{"role": "user", "content": QUESTION}]}
        await api.post("/v1/chat/completions", json=body)
        await api.post("/v1/chat/completions", content=f'{{"broken": "{QUESTION}'.encode())
        await api.post("/predict/mood", json={"text": QUESTION})
        await api.post(f"/predict/{QUESTION}", json={"text": "x"})
        await api.get("/api/v1/chat", params={"query": QUESTION, "app": "desk"})
        await api.get(f"/api/v1/datasets/{QUESTION}")
        await api.get("/api/v1/me", headers={"authorization": f"Bearer {fresh}x"})
    return {
        "admin key": server.admin,
        "app key": fresh,
        "upstream key": UPSTREAM_KEY,
        "password": PASSWORD,
        "admin password": ADMIN_PASSWORD,
        "login link": link,
        "session": signed_in.cookies["inhouse_session"],
    }


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text]


def test_the_log_holds_no_secret_and_no_question(server: Server, secrets: dict[str, str]) -> None:
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]

    assert any('"level": "debug"' in line for line in lines)
    assert found_in("\n".join(lines), {**secrets, "question": QUESTION}) == []


def test_no_metric_is_labelled_with_what_users_say(admin: httpx.Client, secrets: dict[str, str]) -> None:
    metrics = admin.get("/metrics").text

    assert "inhouse_http_requests_total" in metrics
    assert found_in(metrics, {**secrets, "question": QUESTION}) == []


def test_the_database_holds_secrets_encrypted_or_hashed(server: Server, secrets: dict[str, str]) -> None:
    dumps: list[str] = []
    for path in server.home.glob("*.db"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        dumps.extend(connection.iterdump())
        connection.close()

    dump = "\n".join(dumps)
    assert QUESTION in dump  # the conversation is there: it was looked at the right place
    assert found_in(dump, secrets) == []


def test_no_file_but_the_owners_holds_a_secret(server: Server, secrets: dict[str, str]) -> None:
    files = [path for path in server.home.rglob("*") if path.is_file()]

    holding = {path.name: found_in(path.read_bytes().decode("latin-1"), secrets) for path in files}

    assert {name: found for name, found in holding.items() if found} == {"admin.key": ["admin key"]}
    private = [path for path in files if path.name in ("admin.key", "secrets.key")]
    assert [oct(path.stat().st_mode & 0o777) for path in private] == ["0o600", "0o600"]


def test_nothing_that_can_be_read_back_holds_a_secret(admin: httpx.Client, secrets: dict[str, str]) -> None:
    names = "upstreams keys users traces workflows apps conversations models datasets knowledge loop me"
    traces = [trace["id"] for trace in admin.get("/api/v1/traces?limit=200").json()["items"]]
    pages = [f"/api/v1/{name}" for name in names.split()] + [f"/api/v1/traces/{id}" for id in traces]

    said = "\n".join(admin.get(page).text for page in [*pages, "/openapi.json", "/docs", "/v1/models"])

    assert '"has_key":true' in said
    assert found_in(said, secrets) == []


def test_a_second_installation_has_other_secrets(server: Server, tmp_path: Path) -> None:
    assert keys.generate().text != keys.generate().text
    other = Secrets(tmp_path / "secrets.key")
    other.encrypt("x")
    assert (tmp_path / "secrets.key").read_bytes() != (server.home / "secrets.key").read_bytes()


INSIDE = "/metrics /docs /openapi.json /redoc /debug /debug/pprof /.env /admin.key /inhouse.db /.git/config"


@pytest.mark.parametrize("path", INSIDE.split())
def test_nothing_about_the_inside_is_public(server: Server, nobody: httpx.Client, path: str) -> None:
    answer = nobody.get(path)

    assert answer.status_code in (401, 404) or answer.headers["content-type"].startswith("text/html")
    assert server.admin not in answer.text
    assert "inhouse_http_requests_total" not in answer.text
    assert "/api/v1/keys" not in answer.text


def test_no_secret_is_compared_with_equals() -> None:
    """`==` ends at the first difference, and so tells how far a guess was right."""
    telling = ("secret", "token", "hash", "password", "signature")
    offenders = [
        f"{path.name}:{node.lineno}"
        for path in sorted(Path(access.__file__).parent.glob("*.py"))
        if path.name != "store.py"  # columns of SQL, found by an index
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(word in ast.unparse(node) for word in telling)
    ]

    assert offenders == []
