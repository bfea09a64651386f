"""What a server promises when it ends in the middle of its work, by kill -9, by SIGTERM, or is started badly."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from inhouse.cli.helpdesk import KNOWLEDGE, MODEL, NAME, Helpdesk
from inhouse.client import Client
from servers import Server, launched, log_of, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

THINGS = {"leave": "a day off", "it": "a new laptop", "travel": "a train ticket", "pay": "my salary"}
ROWS = "text,label\n" + "".join(f"{thing} {n} please,{label}\n" for n in range(60) for label, thing in THINGS.items())
SECONDS_LONG = {"epochs": 40, "patience": 0, "batch_size": 16}
STOP_S = 20


def train(client: Client) -> str:
    return client.runs.start(dataset="desk", model="desk", config=SECONDS_LONG, seed=7)["id"]


def wait_for_a_step(client: Client, run_id: str, *, after: int = 0) -> None:
    next(event for event in client.runs.events(run_id, after=after) if event["type"] == "step")


def lives(client: Client, run_id: str) -> list[int]:
    """The steps at which the run's training processes began."""
    return [event["resumed_from"] for event in client.runs.past_events(run_id) if event["type"] == "started"]


def weights(server: Server, client: Client, run_id: str) -> bytes:
    run = client.runs.wait(run_id)
    assert run["status"] == "succeeded", run["error"]
    return (server.home / "runs" / run_id / "artifact" / "model.safetensors").read_bytes()


@dataclass(frozen=True, slots=True)
class Trained:
    """A data directory whose server has trained once without being disturbed."""

    home: Path
    weights: bytes


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = tmp_path_factory.mktemp("trained") / "home"
    with running(home) as server, server.client() as client:
        client.datasets.create("desk", ("rows.csv", ROWS.encode()))
        made = weights(server, client, train(client))
        assert server.terminate() == 0
    return Trained(home, made)


def test_a_run_whose_server_is_killed_ends_in_the_same_weights(trained: Trained):
    with running(trained.home) as server, server.client() as client:
        run = train(client)
        wait_for_a_step(client, run)
        client.runs.stop(run)
        client.runs.wait(run)
        client.runs.resume(run)
        wait_for_a_step(client, run, after=len(client.runs.past_events(run)))
        server.kill()

    with running(trained.home) as server, server.client() as client:
        assert weights(server, client, run) == trained.weights
        begun = lives(client, run)

    assert begun[0] == 0
    assert begun[1] > 0
    assert begun[2] >= begun[1]


def test_a_run_whose_server_is_asked_to_stop_ends_in_the_same_weights(trained: Trained):
    with running(trained.home) as server, server.client() as client:
        run = train(client)
        wait_for_a_step(client, run)
        asked = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - asked < STOP_S

    with running(trained.home) as server, server.client() as client:
        assert weights(server, client, run) == trained.weights


def test_documents_that_were_being_read_when_the_server_was_killed_become_ready(tmp_path: Path):
    policies = Helpdesk().policies[:8]
    with running(tmp_path / "home") as server, server.client() as client:
        client.knowledge.create("policies")
        client.knowledge.upload("policies", *policies)
        wait_until(lambda: "ready" in states(client, "policies"))
        server.kill()

    with running(tmp_path / "home") as server, server.client() as client:
        client.knowledge.wait("policies")
        assert states(client, "policies") == ["ready"] * len(policies)


def test_the_demo_is_completed_by_the_next_start_and_left_alone_by_further_ones(tmp_path: Path):
    with launched(tmp_path / "home", "--demo"):
        wait_until(lambda: "Setting up the help-desk example" in said(tmp_path / "home"))

    with demo(tmp_path / "home") as (server, client):
        first = inventory(client)
        assert server.terminate() == 0
    with demo(tmp_path / "home") as (_, client):
        again = inventory(client)

    assert first == again
    assert first["documents"] == ["ready"] * len(Helpdesk().policies)
    assert first["live"] == {"live": 1}


def test_a_data_directory_takes_one_server(tmp_path: Path):
    with running(tmp_path / "home") as server, launched(server.home) as second, server.client() as client:
        assert second.wait(60) == 1
        assert f"Another server (process {server.process.pid}) uses the data directory" in said(server.home)
        assert client.me()["user_id"]


def test_a_port_that_is_taken_makes_it_the_next_free_one(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with running(tmp_path / "home", "--port", str(taken)) as server:
            port = int(server.url.rpartition(":")[2])

    assert taken < port <= taken + 50


def states(client: Client, base: str) -> list[str]:
    return [document["status"] for document in client.knowledge.documents(base)]


def wait_until(is_so: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(home: Path) -> str:
    """The log, with what the terminal's width broke joined again."""
    return " ".join(log_of(home).read_text().split())


@contextmanager
def demo(home: Path) -> Iterator[tuple[Server, Client]]:
    with running(home, "--demo") as server, server.client() as client:
        yield server, client


def inventory(client: Client) -> dict[str, object]:
    """What the demo consists of."""
    return {
        "documents": states(client, KNOWLEDGE),
        "datasets": [(one["dataset"], one["number"], one["count"]) for one in client.datasets.list()],
        "live": client.models.get(MODEL)["aliases"],
        "versions": [one["number"] for one in client.models.get(MODEL)["versions"]],
        "workflow": [one["number"] for one in client.workflows.versions(NAME)],
        "apps": [one["name"] for one in client.apps.list()],
    }
