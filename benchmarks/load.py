"""Sends chat requests with wrk and reads what they cost the program that answers them."""

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contestants import Running
from programs import LOAD_CORE, Program, compiled, environment, find, free_port

HERE = Path(__file__).resolve().parent
CHUNKS = 50
EDGE_S = 0.5
"""Load before the window in which CPU and answers are counted."""
ENOUGH = 10
MOST_TIMES = 4
LONGEST_S = 600
SYSTEM = (
    "You are the assistant of the people department. Answer in the language of the question, in at most five "
    "sentences, only from the policies of the company, and name the paragraph that you rely on. "
)
QUESTION = "How many days of annual leave do I have in my third year, and what happens to days that I do not take? "


@dataclass(frozen=True, slots=True)
class Sample:
    """What one short burst of load showed."""

    rps: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float | None


class Upstream:
    """The fake model server, and how many requests it has answered."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.url = f"http://127.0.0.1:{port}/v1"

    @property
    def served(self) -> int:
        with urllib.request.urlopen(self.url.replace("/v1", "/served"), timeout=30) as response:
            return int(response.read())

    @property
    def itself(self) -> Running:
        """The load without a gateway."""
        return Running("direct", f"{self.url}/chat/completions", self.program, 0.0)


@contextmanager
def fake_upstream(work: Path) -> Iterator[Upstream]:
    binary, port = compiled(HERE / "fake_upstream.c", work / "fake_upstream"), free_port()
    with Program([binary, str(port)], core=LOAD_CORE, log=work / "fake_upstream.log") as program:
        program.answers(f"http://127.0.0.1:{port}/v1/models")
        yield Upstream(program, port)


def request_body(model: str, *, stream: bool) -> dict[str, Any]:
    """1.8 KB: what a help desk sends. A stream asks for its usage, so that every gateway passes the same events on."""
    messages = [
        {"role": "system", "content": (SYSTEM * 8)[:1500]},
        {"role": "user", "content": QUESTION.strip()},
    ]
    body = {"model": model, "messages": messages, "temperature": 0.2, "max_tokens": 400}
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


def verify(gateway: Running) -> None:
    """One answer and one stream must be what the model server said; a benchmark of errors would be a fast one."""
    whole = json.loads(ask(gateway, stream=False))
    if whole["object"] != "chat.completion" or "Annual leave is" not in whole["choices"][0]["message"]["content"]:
        raise SystemExit(f"{gateway.name} answers {whole}")
    events = [line[6:] for line in ask(gateway, stream=True).splitlines() if line.startswith("data: ")]
    if not events or events.pop() != "[DONE]":
        raise SystemExit(f"{gateway.name} does not end its stream with [DONE]: {events[-3:]}")
    chunks = [json.loads(event) for event in events]
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    counted = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    if said != "".join(f"word{n} " for n in range(1, CHUNKS - 1)) or not counted:
        raise SystemExit(f"{gateway.name} streams {said!r} with the usage {counted}")


def ask(gateway: Running, *, stream: bool) -> str:
    request = urllib.request.Request(
        gateway.url,
        data=json.dumps(request_body(gateway.model, stream=stream)).encode(),
        headers={"Content-Type": "application/json", "Authorization": gateway.authorization},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{gateway.name} refuses a request: {error.code} {error.read().decode()[:500]}") from error


def measure(gateway: Running, upstream: Upstream, work: Path, *, clients: int, stream: bool, seconds: float) -> Sample:
    """Load a gateway for a while; in the middle, its CPU divided by the answers that the model server gave.

    Who is slow gets more time, or the requests that are under way at either end would be most of what is counted.
    """
    with Load(gateway, work, clients=clients, stream=stream, seconds=LONGEST_S) as load:
        time.sleep(EDGE_S)
        began, served, cpu_s = time.monotonic(), upstream.served, gateway.program.cpu_s
        while (spent_s := time.monotonic() - began) < seconds or (
            spent_s < MOST_TIMES * seconds and upstream.served - served < ENOUGH * clients
        ):
            time.sleep(min(seconds, 0.5))
        cpu_s, served = gateway.program.cpu_s - cpu_s, upstream.served - served
        load.stop()
        summary = load.summary()
    cpu_ms = None if gateway.name == "direct" or not served else 1000 * cpu_s / served
    return Sample(summary["requests"] / summary["seconds"], summary["p50_ms"], summary["p99_ms"], cpu_ms)


class Load:
    """wrk with one thread on the load's core."""

    def __init__(self, gateway: Running, work: Path, *, clients: int, stream: bool, seconds: int) -> None:
        self._gateway = gateway
        body = work / f"body-{gateway.name}-{'stream' if stream else 'json'}.json"
        body.write_text(json.dumps(request_body(gateway.model, stream=stream)))
        options = ["-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s"]
        target = ["-s", HERE / "post.lua", gateway.url, "--", body, gateway.authorization or "none"]
        self._command = ["taskset", "--cpu-list", str(LOAD_CORE), find("wrk", "wrk"), *options, *target]

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(
            [str(word) for word in self._command], env=environment(), stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End before the time is over; the summary still comes."""
        self._process.send_signal(signal.SIGINT)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def summary(self) -> dict[str, float]:
        """What wrk counted. Anything but answers with 2xx ends the benchmark."""
        output, _ = self._process.communicate()
        summary = json.loads(output.strip().splitlines()[-1])
        if summary["refused"] or summary["broken"] or not summary["requests"]:
            raise SystemExit(f"{self._gateway.name} did not answer every request: {summary}")
        return summary
