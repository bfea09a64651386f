import asyncio
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from inhouse.core.children import python
from inhouse.serving.lm.checkpoint import Kind, open_adapter, open_checkpoint
from inhouse.serving.lm.runtime import Plan, Server
from inhouse.serving.lm.runtimes.vllm import VllmRuntime
from inhouse.serving.lm.vllm import Patience, ServerFailed, ServerRefused, VllmServer, command

from .playing import adapter_directory, parrot_directory

STAND_IN = python("inhouse.testing.vllm_stand_in")
QUICK = Patience(start_s=20, drain_s=10, check_s=0.05, backoff_s=0.01, restarts=2)


class Watch:
    """Starts servers and waits for what becomes of them."""

    def __init__(self) -> None:
        self.servers: list[VllmServer] = []
        self._changed = threading.Condition()

    def start(self, directory: Path, *, patience: Patience = QUICK, **plan: Any) -> VllmServer:
        asked = Plan("bird", open_checkpoint(directory), Kind.CHAT, changed=self._notice, **plan)
        server = VllmServer(asked, executable=STAND_IN, patience=patience)
        self.servers.append(server)
        server.start()
        return server

    def until(self, is_so: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_so, 30)

    def _notice(self) -> None:
        with self._changed:
            self._changed.notify_all()


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    for server in watch.servers:
        server.stop()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return parrot_directory(tmp_path / "model")


def ask(server: Server, path: str = "chat/completions", *, key: str | None = None, **body: Any) -> httpx.Response:
    said = {"model": server.model, "messages": [{"role": "user", "content": "Hello?"}], **body}
    headers = {"authorization": f"Bearer {server.key if key is None else key}"}
    return httpx.post(f"{server.url}/{path}", json=said, headers=headers)


def told(server: VllmServer) -> dict[str, Any]:
    return httpx.get(server.model().url.replace("/v1", "/adapters")).json()


def test_a_server_starts_and_answers_who_has_its_key(watch: Watch, directory: Path):
    server = watch.start(directory).model()

    assert "Hello?" in ask(server).json()["choices"][0]["message"]["content"]
    assert ask(server, stream=True).text.endswith("data: [DONE]\n\n")
    assert ask(server, key="other").status_code == 401


def test_its_environment_holds_nothing_of_ours(watch: Watch, directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INHOUSE_ADMIN_PASSWORD", "secret")

    environment = told(watch.start(directory))["environment"]

    assert environment == ["VLLM_ALLOW_RUNTIME_LORA_UPDATING", "VLLM_API_KEY", "VLLM_NO_USAGE_STATS"]


def test_adapters_come_are_replaced_and_go(watch: Watch, directory: Path, tmp_path: Path):
    server = watch.start(directory)
    first, second = (open_adapter(adapter_directory(tmp_path / name)) for name in ("first", "second"))

    server.add_adapter("sad", first)
    before = told(server)["adapters"]
    server.add_adapter("sad", second)
    after = told(server)["adapters"]
    answer = ask(server.model("sad"))
    server.remove_adapter("sad")

    assert (before, after) == ({"bird:sad": str(first.directory)}, {"bird:sad": str(second.directory)})
    assert answer.json()["model"] == "bird:sad"
    assert told(server)["adapters"] == {}


def test_an_adapter_that_it_refuses_is_told(watch: Watch, tmp_path: Path):
    server = watch.start(parrot_directory(tmp_path / "model", stand_in={"refuses": "bird:sad"}))
    adapter = open_adapter(adapter_directory(tmp_path / "lora"))

    with pytest.raises(ServerRefused, match="No adapter found"):
        server.add_adapter("sad", adapter)


def test_a_killed_server_starts_again_with_its_adapters(watch: Watch, directory: Path, tmp_path: Path):
    adapters = {name: open_adapter(adapter_directory(tmp_path / name)) for name in ("glad", "sad")}
    server = watch.start(directory, adapters={"glad": adapters["glad"]})
    server.add_adapter("sad", adapters["sad"])
    killed = server.pid

    os.kill(killed, signal.SIGKILL)
    watch.until(lambda: server.state == "restarting")
    watch.until(lambda: server.state == "loaded")

    assert server.pid != killed
    assert told(server)["adapters"] == {f"bird:{name}": str(one.directory) for name, one in adapters.items()}
    assert ask(server.model("sad")).status_code == 200


def test_a_server_that_hangs_is_ended_and_starts_again(watch: Watch, directory: Path):
    server = watch.start(directory, patience=Patience(20, check_s=0.05, health_s=0.2, backoff_s=0.01))
    hung = server.pid

    os.kill(hung, signal.SIGSTOP)
    watch.until(lambda: server.pid not in (0, hung) and server.state == "loaded")

    assert ask(server.model()).status_code == 200


def test_a_server_that_keeps_falling_over_is_given_up(watch: Watch, directory: Path):
    server = watch.start(directory)

    for _ in range(QUICK.restarts + 1):
        watch.until(lambda: server.state == "loaded")
        os.kill(server.pid, signal.SIGKILL)
        watch.until(lambda: server.state != "loaded")
    watch.until(lambda: server.state == "failed")

    with pytest.raises(ServerFailed):
        server.add_adapter("sad", open_adapter(adapter_directory(directory / "lora")))


def test_a_server_that_does_not_start_says_its_last_words(watch: Watch, tmp_path: Path):
    with pytest.raises(ServerFailed, match="CUDA out of memory"):
        watch.start(parrot_directory(tmp_path / "model", stand_in={"fails": "CUDA out of memory"}))


def test_a_server_that_never_gets_healthy_is_ended(watch: Watch, tmp_path: Path):
    directory = parrot_directory(tmp_path / "model", stand_in={"deaf": True})

    with pytest.raises(ServerFailed, match="did not answer within"):
        watch.start(directory, patience=Patience(start_s=1, drain_s=1))


def test_a_server_that_nobody_wants_any_more_is_not_waited_for(watch: Watch, tmp_path: Path):
    abandoned = threading.Event()
    abandoned.set()

    with pytest.raises(ServerFailed, match="given up"):
        watch.start(parrot_directory(tmp_path / "model", stand_in={"deaf": True}), abandoned=abandoned)

    assert watch.servers[0].pid == 0


def test_a_missing_executable_is_told(directory: Path):
    server = VllmServer(Plan("bird", open_checkpoint(directory), Kind.CHAT), executable=["/nowhere/vllm"])

    with pytest.raises(ServerFailed, match="cannot be started"):
        server.start()


async def test_stopping_lets_requests_under_way_finish(watch: Watch, directory: Path):
    server = await asyncio.to_thread(watch.start, directory)
    url = server.model().url.replace("/v1", "/slow")
    async with httpx.AsyncClient() as client:
        running = asyncio.create_task(client.get(url, params={"seconds": 0.5}))
        await client.get(server.model().url.replace("/v1", "/health"))  # it is there before the wish to stop
        await server.close()

        assert (await running).text == "at last"
    assert server.pid == 0


def test_it_dies_with_its_parent(directory: Path):
    parent = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from inhouse.serving.lm.checkpoint import Kind, open_checkpoint
        from inhouse.serving.lm.runtime import Plan
        from inhouse.serving.lm.vllm import VllmServer
        server = VllmServer(Plan("bird", open_checkpoint(Path({str(directory)!r})), Kind.CHAT), executable={STAND_IN!r})
        server.start()
        print(server.pid, flush=True)
        sys.stdin.read()
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    child = os.pidfd_open(int(process.stdout.readline()))

    process.kill()
    process.wait()

    assert select.select([child], [], [], 10)[0]
    os.close(child)
    process.stdin.close()
    process.stdout.close()


def test_the_command_line_asks_for_nothing_remote(directory: Path):
    line = command(Plan("bird", open_checkpoint(directory), Kind.CHAT), 7, executable=["vllm"], drain_s=60)

    assert line[:7] == ["vllm", "serve", str(directory), "--host", "127.0.0.1", "--port", "7"]
    assert "--trust-remote-code" not in line
    assert not [part for part in line if "key" in part]


def test_the_runtime_says_what_it_needs(directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")

    assert "pip install vllm" in VllmRuntime(needs_gpu=False).missing()
    assert VllmRuntime(["vllm"], needs_gpu=False).missing() == ""
    assert VllmRuntime(["vllm"]).serves(open_checkpoint(directory), Kind.CHAT)
    assert not VllmRuntime(["vllm"]).serves(open_checkpoint(directory), Kind.EMBEDDING)
