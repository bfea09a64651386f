import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import ValidationError

from inhouse.gateway.call import Call, Outcome, Usage
from inhouse.gateway.policies.tracing import Tracing, TracingSettings
from inhouse.gateway.policy import Surroundings

from .doubles import Down, call, first_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps it."""

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.got: list[tuple[str, Any]] = []
        self.came = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        return [span for _, body in self.got for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.got.append((self.path, body))
        self.server.came.set()
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tracing(collector: Collector) -> Iterator[Tracing]:
    found = Tracing(Surroundings(now=lambda: 1_700_000_000.0), uniform=first_of([]), bits=lambda count: count)
    found.configure(TracingSettings(endpoint=collector.url, service_name="here"))
    yield found
    found.close()


def play(tracing: Tracing, asked: Call, outcome: Outcome) -> None:
    tracing.admit(asked)
    tracing.settle(asked, outcome)


def facts(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_a_request_becomes_a_span(tracing: Tracing, collector: Collector):
    asked = call(usage=Usage(11, 7), stream=True, first_token_s=0.25, session="s", attempts=2)
    asked.target = asked.route.targets[0]

    play(tracing, asked, Outcome(200, duration_s=1.5))
    tracing.close()

    [(path, body)] = collector.got
    [span] = collector.spans
    assert path == "/v1/traces"
    assert facts(body["resourceSpans"][0]["resource"])["service.name"] == "here"
    assert (span["name"], span["kind"], span["status"]) == ("chat m", 3, {})
    assert span["startTimeUnixNano"] == "1700000000000000000"
    assert span["endTimeUnixNano"] == "1700000001500000000"
    assert facts(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.provider.name": "lab",
        "gen_ai.response.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": "11",
        "gen_ai.usage.output_tokens": "7",
        "gen_ai.conversation.id": "s",
        "http.response.status_code": "200",
        "inhouse.workspace": "default",
        "inhouse.key_id": "key_1",
        "inhouse.attempts": "2",
    }


def test_a_failure_is_an_error(tracing: Tracing, collector: Collector):
    play(tracing, call(), Outcome(503, Down("It is away.")))
    tracing.close()

    [span] = collector.spans
    assert span["status"] == {"code": 2, "message": "It is away."}
    assert facts(span)["error.type"] == "down"


def test_the_span_hangs_between_the_callers_and_the_model_servers(tracing: Tracing, collector: Collector):
    asked = call()
    asked.notes["traceparent"] = f"00-{TRACE}-{PARENT}-01".encode()

    play(tracing, asked, Outcome(200))
    tracing.close()

    [span] = collector.spans
    assert (span["traceId"], span["parentSpanId"]) == (TRACE, PARENT)
    assert asked.notes["traceparent"] == f"00-{TRACE}-{span['spanId']}-01".encode()


@pytest.mark.parametrize(("parent", "spans"), [(f"00-{TRACE}-{PARENT}-00", 0), ("nonsense", 1), ("", 1)])
def test_the_caller_decides_where_it_can(tracing: Tracing, collector: Collector, parent: str, spans: int):
    asked = call()
    asked.notes["traceparent"] = parent.encode()

    play(tracing, asked, Outcome(200))
    tracing.close()

    assert len(collector.spans) == spans


def test_only_a_share_is_sampled(collector: Collector):
    tracing = Tracing(Surroundings(), uniform=first_of([0.1, 0.5, 0.9, 0.2]))
    tracing.configure(TracingSettings(endpoint=collector.url, sample=0.25))

    for _ in range(4):
        play(tracing, call(), Outcome(200))
    tracing.close()

    assert len(collector.spans) == 2


def test_many_spans_go_in_few_requests(tracing: Tracing, collector: Collector):
    for _ in range(100):
        play(tracing, call(), Outcome(200))
    tracing.close()

    assert len(collector.spans) == 100
    assert len(collector.got) <= 3


def test_a_collector_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture):
    tracing = Tracing(Surroundings())
    tracing.configure(TracingSettings(endpoint="http://127.0.0.1:1"))

    for _ in range(1000):
        play(tracing, call(), Outcome(200))
    tracing.close()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "takes no spans" in caplog.text


def test_without_a_collector_there_is_no_policy():
    tracing = Tracing(Surroundings())

    assert not tracing.is_active
    tracing.close()


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "http://name:secret@collector", "http://a?b"])
def test_the_address_is_one_of_a_server(url: str):
    with pytest.raises(ValidationError):
        TracingSettings(endpoint=url)
