import subprocess
import sys
from pathlib import Path

import pytest

from inhouse.access.identity import Identity
from inhouse.client import Client
from inhouse.client.errors import BadAddress, FileUnreadable, NotInhouse, ServerUnreachable
from inhouse.core.errors import Conflict, Denied, Invalid, NotFound, TooLarge, Unauthenticated
from inhouse.core.principal import Principal

from .conftest import serving

ROWS = "text,label\n" + "".join(f"{label} question {n},{label}\n" for label in ("leave", "vpn") for n in range(10))
GRAPH = """
nodes:
  - {id: start, data: {type: start}}
  - {id: llm, data: {type: llm, model: {name: default}, prompt_template: [{role: user, text: "{{#sys.query#}}"}]}}
  - {id: reply, data: {type: answer, answer: "{{#llm.text#}}"}}
edges: [{source: start, target: llm}, {source: llm, target: reply}]
"""


@pytest.fixture
def app(client: Client, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[:64]
    client.workflows.save("greet", GRAPH)
    return client.apps.create(name, "greet", title="Greeter", suggested=["Hi"])["name"]


def test_a_file_becomes_a_dataset_with_versions(client: Client, tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)

    preview = client.datasets.preview(file, {"text": "text", "label": "label"})
    created = client.datasets.create("help-desk", file)
    added = client.datasets.add("help-desk", [{"text": "my tunnel is down", "label": "vpn"}], note="One more.")

    assert preview["count"] == created["count"] == 20
    assert (added["reference"], added["count"]) == ("help-desk@v2", 21)
    assert [version["number"] for version in client.datasets.get("help-desk")["versions"]] == [2, 1]
    assert client.datasets.examples("help-desk", 2, label="vpn", limit=3)["total"] == 11
    assert [version["dataset"] for version in client.datasets.list()] == ["help-desk"]


def test_a_workflow_is_created_then_saved_again(client: Client):
    first = client.workflows.save("hello", GRAPH)
    second = client.workflows.save("hello", GRAPH.replace("sys.query", "sys.user_id"), note="Greet by name.")

    assert (first["number"], second["number"]) == (1, 2)
    assert client.workflows.get("hello", 2)["note"] == "Greet by name."
    run = client.workflows.run("hello", "Hi")
    assert run["outputs"]["answer"] == "Hello.\u2028Bye."
    assert client.traces.get(run["trace_id"])["workflow_version"] == 2


def test_a_conversation_streams_and_is_rated(client: Client, app: str):
    events = list(client.apps.stream(app, "Hi"))

    assert [event.data["text"] for event in events if event.name == "delta"] == ["Hel", "lo.\u2028", "Bye."]
    message = events[-1].data["message"]
    rated = client.apps.feedback(message["id"], "down", reason="Too short")
    assert rated is not None
    assert rated["reason"] == "Too short"
    again = client.apps.chat(app, "And?", conversation_id=message["conversation_id"])
    assert [one["feedback"] for one in client.conversations.messages(again["conversation_id"])] == [rated, None]
    assert client.apps.feedback(message["id"], None) is None


def test_the_short_form_asks_the_first_app(client: Client, app: str):
    assert client.apps.ask("Hi", temperature=0.5)["answer"] == "Hello.\u2028Bye."


def test_keys_and_users_are_made(client: Client, address: str):
    key = client.keys.create("reader", ["dataset:read"])
    user = client.users.create("ann", role="builder")

    assert user in client.users.list()
    assert client.users.link("ann").startswith("/api/v1/auth/link?token=")
    with Client(address, key["key"]) as reader:
        assert reader.me()["permissions"] == ["dataset:read", "self:read"]
        assert reader.datasets.list() == client.datasets.list()
        with pytest.raises(Denied, match="model:read"):
            reader.models.list()
    client.keys.revoke(key["id"])


def test_errors_come_back_as_they_were_raised(client: Client):
    with pytest.raises(NotFound) as missing:
        client.datasets.get("nothing")

    error = missing.value
    assert (error.code, error.kind, error.status) == ("dataset_not_found", "not_found", 404)
    assert error.message == "There is no dataset named 'nothing'."
    assert error.hint
    assert error.details["trace_id"].startswith("req_")


def test_the_facts_of_an_error_come_along(client: Client):
    with pytest.raises(Invalid) as refused:
        client.datasets.create("bad", ("rows.csv", b"text,label\nhello,\nhi,greeting\n"))

    assert refused.value.code == "bad_rows"
    assert refused.value.details["problems"][0]["row"] == 1


def test_a_name_with_a_slash_stays_one_name(client: Client):
    with pytest.raises((NotFound, Invalid)):
        client.datasets.get("../keys")


def test_a_wrong_key_is_told_apart_from_a_missing_permission(address: str):
    with Client(address, "ih_wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.datasets.list()


def test_a_taken_name_is_a_conflict(client: Client, app: str):
    with pytest.raises(Conflict):
        client.apps.create(app, "greet", title="Again")


def test_a_request_that_is_too_large_is_not_repeated(client: Client, app: str):
    with pytest.raises(TooLarge):
        client.apps.chat(app, "x" * (1 << 20))


def test_a_stream_that_cannot_begin_is_an_error(client: Client):
    with pytest.raises(NotFound, match="nowhere"):
        list(client.apps.stream("nowhere", "Hi"))


def test_where_no_server_answers_the_hint_says_how_to_start_one():
    with serving(_hello) as url:
        pass

    with Client(url) as client, pytest.raises(ServerUnreachable) as refused:
        client.me()

    assert "inhouse up" in refused.value.hint


def test_another_kind_of_server_is_named():
    with serving(_hello) as url, Client(url) as client, pytest.raises(NotInhouse):
        client.me()


@pytest.mark.parametrize("url", ["", "localhost:8750", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(BadAddress):
        Client(url)


def test_a_file_that_is_missing_is_named(client: Client):
    with pytest.raises(FileUnreadable, match=r"rows\.csv"):
        client.datasets.preview("/nowhere/rows.csv")


def test_the_sdk_is_imported_only_when_used():
    code = "import sys, inhouse; assert 'httpx' not in sys.modules; inhouse.Client; assert 'httpx' in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_key_made_elsewhere_is_known_here(address: str, identity: Identity):
    _, key = identity.add_key(Principal.system(), "second", ("app:read",))

    with Client(address + "/", key) as client:
        assert client.me()["permissions"] == ["app:read", "self:read"]


async def _hello(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<h1>Hello</h1>"})
