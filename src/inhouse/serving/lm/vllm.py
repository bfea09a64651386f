"""vLLM as a server of its own for one model: started, watched, started again, and told of its adapters each time.

It is never imported: it brings its own torch and CUDA, and lives in whatever environment has a `vllm` command.
"""

import asyncio
import json
import logging
import os
import secrets
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.core.children import spawn
from inhouse.core.errors import InhouseError, Unavailable
from inhouse.core.http import Http, Timeouts
from inhouse.core.settings import plain_environment
from inhouse.serving.lm.checkpoint import Adapter
from inhouse.serving.lm.runtime import Plan, Server

HOST = "127.0.0.1"
_TOOL_PARSERS = {"llama": "llama3_json", "mistral": "mistral", "qwen2": "hermes", "qwen3": "hermes"}
_REASONING_PARSERS = {"qwen3": "qwen3"}
_log = logging.getLogger(__name__)


class ServerFailed(Unavailable):
    """The model's server does not start, or stopped too often."""


class ServerRefused(Unavailable):
    """The model's server answered a change of adapters with an error."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and how often to try."""

    start_s: float = 1200.0
    """For the first answer: large weights take minutes to load."""
    drain_s: float = 120.0
    """For requests under way when the server is to stop."""
    check_s: float = 10.0
    """Between two looks at a running server; three failed ones in a row end it."""
    health_s: float = 10.0
    """For the answer to such a look."""
    backoff_s: float = 1.0
    """Before the first restart; doubled for each that follows soon."""
    restarts: int = 5
    stable_s: float = 300.0
    """After so long a run, earlier restarts are forgotten."""


def command(plan: Plan, port: int, *, executable: Sequence[str], drain_s: float) -> list[str]:
    """The command line of a model's server. Code in the model directory is never run: vLLM has to be asked to."""
    model_type = plan.checkpoint.model_type
    line = [*executable, "serve", str(plan.checkpoint.directory), "--host", HOST, "--port", str(port)]
    line += ["--served-model-name", plan.name, "--dtype", plan.dtype, "--max-num-seqs", str(plan.max_batch)]
    line += ["--enable-lora", "--max-loras", "4", "--max-lora-rank", "64"]
    line += ["--shutdown-timeout", str(int(drain_s))]
    if parser := _TOOL_PARSERS.get(model_type):
        line += ["--enable-auto-tool-choice", "--tool-call-parser", parser]
    if parser := _REASONING_PARSERS.get(model_type):
        line += ["--reasoning-parser", parser]
    return line


def environment(key: str) -> dict[str, str]:
    """Its environment: nothing of ours, a key that only we know, and no calls home."""
    return {
        **plain_environment(),
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }


class VllmServer:
    """One server and the thread that watches over it.

    The thread that starts a child must live as long as the child does, so everything happens in a loop of its own
    there; other threads hand their wishes in.
    """

    def __init__(self, plan: Plan, *, executable: Sequence[str], patience: Patience = Patience()) -> None:
        self.state, self.error = "loading", ""
        self._plan = plan
        self._executable = executable
        self._patience = patience
        self._adapters: dict[str, Adapter] = dict(plan.adapters)
        self._key = secrets.token_urlsafe(32)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._tail: deque[str] = deque(maxlen=40)
        self._begun, self._settled = threading.Event(), threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = Http(lambda host, port: (host, port) == (HOST, self._port))
        self._thread = threading.Thread(target=self._run, name=f"inhouse-vllm-{plan.name}", daemon=True)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it and wait until it answers, or raise what it last said."""
        self._thread.start()
        while not self._settled.wait(0.1):
            if self._plan.abandoned.is_set():
                self.stop()
                raise ServerFailed(f"The server of {self._plan.name!r} was given up while it started.")
        if self.state == "failed":
            self._thread.join()
            raise ServerFailed(f"vLLM does not run {self._plan.name!r}: {self.error}", hint="The log says more.")

    def model(self, adapter: str = "") -> Server:
        if self.state == "failed":
            raise ServerFailed(f"The server of {self._plan.name!r} was given up: {self.error}", hint="Load it again.")
        name = f"{self._plan.name}:{adapter}" if adapter else self._plan.name
        return Server(f"http://{HOST}:{self._port}/v1", self._key, name)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        self._ask(self._add(name, adapter))

    def remove_adapter(self, name: str) -> None:
        self._ask(self._remove(name))

    async def close(self) -> None:
        """Let it finish what it has, then end it."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        self._begun.wait()
        if self._loop is not None and self._stop is not None:
            with suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _ask(self, wish: Coroutine[Any, Any, None]) -> None:
        if self._loop is None or self.state == "failed":
            wish.close()
            raise ServerFailed(f"The server of {self._plan.name!r} does not run: {self.error}", hint="Load it again.")
        asyncio.run_coroutine_threadsafe(wish, self._loop).result(self._patience.start_s)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except Exception as error:
            _log.exception("Watching the server of %r failed", self._plan.name)
            self._become("failed", str(error))
        finally:
            self._begun.set()
            self._settled.set()

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        restarts = 0
        try:
            while not self._stop.is_set():
                started = self._loop.time()
                ran = await self._one_life()
                if self._stop.is_set():
                    return
                restarts = 1 if self._loop.time() - started > self._patience.stable_s else restarts + 1
                if not self._settled.is_set() or restarts > self._patience.restarts:
                    self._become("failed", "\n".join(self._tail) or "it said nothing")
                    return
                _log.warning("The server of %r %s, restart %d", self._plan.name, ran, restarts)
                self._become("restarting", ran)
                await self._stopped(self._patience.backoff_s * 2 ** (restarts - 1))
        finally:
            await self._http.close()

    async def _one_life(self) -> str:
        """Run the server once; say how that ended."""
        self._port = await _free_port()
        self._tail.clear()
        line = command(self._plan, self._port, executable=self._executable, drain_s=self._patience.drain_s)
        try:
            process = spawn(line, env=environment(self._key), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            self._tail.append(f"{line[0]!r} cannot be started: {error.strerror}")
            return "cannot be started"
        self._process = process
        ended = asyncio.create_task(asyncio.to_thread(process.wait))
        reading = asyncio.create_task(self._read(process))
        try:
            return await self._watch(ended)
        finally:
            await self._end(process, ended)
            await reading
            self._process = None

    async def _watch(self, ended: "asyncio.Task[int]") -> str:
        if not await self._answers(ended):
            return f"ended with status {ended.result()}" if ended.done() else "did not answer in time"
        for name, adapter in list(self._adapters.items()):
            with suppress(InhouseError):  # one bad adapter must not keep the model away; asking for it is a 404
                await self._load(name, adapter)
        self._become("loaded")
        self._settled.set()
        failures = 0
        while failures < 3:
            if await self._stopped(self._patience.check_s, ended):
                return f"ended with status {ended.result()}" if ended.done() else "was stopped"
            failures = 0 if await self._is_healthy() else failures + 1
        return "did not answer any more"

    async def _answers(self, ended: "asyncio.Task[int]") -> bool:
        """Wait for the first sign of health."""
        deadline = asyncio.get_running_loop().time() + self._patience.start_s
        while asyncio.get_running_loop().time() < deadline:
            if await self._is_healthy():
                return True
            if await self._stopped(0.1, ended):
                return False
        self._tail.append(f"It did not answer within {self._patience.start_s:.0f} s.")
        return False

    async def _is_healthy(self) -> bool:
        try:
            url, health_s = f"http://{HOST}:{self._port}/health", self._patience.health_s
            return (await self._http.request("GET", url, timeouts=Timeouts(health_s, health_s))).status_code == 200
        except InhouseError:
            return False

    async def _stopped(self, seconds: float, *ends: "asyncio.Task[int]") -> bool:
        """Wait; whether the wish to stop, or the server's end, came before the time was over."""
        assert self._stop is not None
        wish = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait({wish, *ends}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        wish.cancel()
        return bool(done)

    async def _end(self, process: "subprocess.Popen[bytes]", ended: "asyncio.Task[int]") -> None:
        """End it with all that it started. Where somebody wished it, it finishes what it has first."""
        if not ended.done() and self._stop is not None and self._stop.is_set():
            process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(ended), self._patience.drain_s + 15)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await ended

    async def _read(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the last lines of what it says."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
        rest = b""
        while part := await reader.read(1 << 16):
            *lines, rest = (rest + part).split(b"\n")
            rest = rest[-4096:]
            for line in lines:
                said = line.decode(errors="replace").rstrip()[:400]
                self._tail.append(said)
                _log.debug("vLLM %s: %s", self._plan.name, said)

    async def _add(self, name: str, adapter: Adapter) -> None:
        if self.state == "loaded":
            await self._load(name, adapter, is_new=name not in self._adapters)
        self._adapters[name] = adapter

    async def _load(self, name: str, adapter: Adapter, *, is_new: bool = True) -> None:
        body: dict[str, Any] = {"lora_name": self.model(name).model, "lora_path": str(adapter.directory)}
        if is_new:
            await self._post("load_lora_adapter", body)
            return
        try:
            await self._post("load_lora_adapter", {**body, "load_inplace": True})
        except ServerRefused:  # an older vLLM has to forget the former one first
            await self._post("unload_lora_adapter", {"lora_name": body["lora_name"]})
            await self._post("load_lora_adapter", body)

    async def _remove(self, name: str) -> None:
        if self._adapters.pop(name, None) is not None and self.state == "loaded":
            await self._post("unload_lora_adapter", {"lora_name": self.model(name).model})

    async def _post(self, path: str, body: object) -> None:
        answer = await self._http.request(
            "POST",
            f"http://{HOST}:{self._port}/v1/{path}",
            headers={"authorization": f"Bearer {self._key}", "content-type": "application/json"},
            content=json.dumps(body).encode(),
            timeouts=Timeouts(5.0, 300.0),
        )
        if answer.status_code != 200:
            raise ServerRefused(f"vLLM answered {answer.status_code} to {path}: {answer.text[:300]}")

    def _become(self, state: str, error: str = "") -> None:
        self.state, self.error = state, error
        if self._settled.is_set():
            self._plan.changed()


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), HOST, 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def has_gpu() -> bool:
    """Whether an NVIDIA driver is at work."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
