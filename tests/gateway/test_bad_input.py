"""What broken and hostile clients send to `/v1`: OpenAI's error in each case, no work done for it, nothing told on."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from inhouse.testing.openai_stand_in import OpenAIStandIn
from servers import log_of, running, stand_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

CHAT = "chat/completions"
HI = [{"role": "user", "content": "hi"}]
ASK = {"model": "stand-in", "messages": HI}
DEEP = 100_000
FORM = "multipart/form-data; boundary=x"
MODEL_FIELD = b'--x\r\ncontent-disposition: form-data; name="model"\r\n'
SECRET = "hunter2-hunter2"
"""Part of every body here. No log may hold it."""


@dataclass(frozen=True, slots=True)
class Door:
    """A running server, what was heard behind it, and what it logged, down to the last detail."""

    http: httpx.Client
    behind: OpenAIStandIn
    log: Path

    def post(self, body: Any, path: str = CHAT, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.http.post(path, content=content, headers={"content-type": "application/json", **headers})


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("gateway") / "home"
    home.mkdir()
    (home / "inhouse.toml").write_text('log_level = "DEBUG"\n')
    with stand_in() as behind, running(home) as server:
        with server.client() as client:
            client.upstreams.connect("lab", behind.url)
        headers = {"authorization": f"Bearer {server.key}"}
        with httpx.Client(base_url=f"{server.url}/v1", headers=headers, timeout=20, trust_env=False) as http:
            yield Door(http, behind, log_of(home))


@pytest.fixture(autouse=True)
def unharmed(door: Door) -> Iterator[None]:
    """No test may leave an unexpected error or anything of its input in the log, nor a server that answers no more."""
    before = door.log.stat().st_size
    yield
    with door.log.open("rb") as log:
        log.seek(before)
        said = log.read()
    assert b"Traceback" not in said
    assert SECRET.encode() not in said
    assert door.post(ASK).status_code == 200


def refused(door: Door, answer: httpx.Response, heard: int) -> dict[str, Any]:
    """The error of an answer, which has OpenAI's shape; the model server heard nothing of it."""
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert len(answer.content) < 2000, "an error does not echo what was sent"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-should-retry"] == "false"
    assert len(door.behind.heard) == heard
    return error


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


def with_raw(name: str, value: bytes) -> bytes:
    """A chat request with a member that no JSON library would write."""
    return json.dumps(ASK).encode()[:-1] + b', "%b": %b}' % (name.encode(), value)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"null", None),
        (b"3", None),
        (b"[]", None),
        (b'[{"model": "stand-in"}]', None),
        (b'{"model": "stand-in", "messages": [', None),
        (b'{"model": "stand-in", "messages": [{"role": "user", "content": "\xff\xfe"}]}', None),
        (b"\xef\xbb\xbf{}", None),
        (b"\x00" * 1000, None),
        (nested(DEEP), None),
        (b'{"a":' * DEEP, None),
        (b'{"model": "stand-in", "messages": %b}' % nested(DEEP), None),
        (b'{"messages": [{"role": "user", "content": "hi"}]}', "model"),
        (b'{"model": "stand-in"}', "messages"),
        (b'{"model": "stand-in", "messages": []}', "messages"),
        (b'{"model": "stand-in", "messages": ["hi"]}', "messages[0]"),
        (b'{"model": "stand-in", "messages": [{"content": "hi"}]}', "messages[0].role"),
        (b'{"model": "", "messages": [{"role": "user"}]}', "model"),
        (b'{"model": ["stand-in"], "messages": [{"role": "user"}]}', "model"),
        (with_raw("temperature", b"NaN"), None),
        (with_raw("temperature", b"Infinity"), None),
        (with_raw("temperature", b"1e999"), None),
        (with_raw("temperature", b"-1"), "temperature"),
        (with_raw("temperature", b'"hot"'), "temperature"),
        (with_raw("top_p", b"1.5"), "top_p"),
        (with_raw("n", b"10000"), "n"),
        (with_raw("n", b"0"), "n"),
        (with_raw("n", b"1.5"), "n"),
        (with_raw("max_tokens", b"-1"), "max_tokens"),
        (with_raw("max_tokens", b"1" + b"0" * 400), "max_tokens"),
        (with_raw("top_logprobs", b"1000"), "top_logprobs"),
        (with_raw("stop", b"[" + b'"a",' * 100_000 + b'"a"]'), "stop"),
        (with_raw("stop", b'"' + b"a" * 100_000 + b'"'), "stop"),
        (with_raw("stream", b'"yes"'), "stream"),
        (with_raw("stream_options", b"3"), "stream_options"),
        (with_raw("tools", b"3"), "tools"),
        (with_raw("tools", b"[" + b"{}," * 5000 + b"{}]"), "tools"),
        (with_raw("response_format", b'{"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}'), None),
        (with_raw("response_format", b'"json"'), "response_format"),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, bytes) else str(value),
)
def test_a_broken_request_is_refused_and_the_parameter_named(door: Door, body: bytes, param: str | None) -> None:
    heard = len(door.behind.heard)

    answer = door.post(body.replace(b'"hi"', b'"%b"' % SECRET.encode()))

    error = refused(door, answer, heard)
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert param is None or error["param"] == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"model": "stand-in"}, "prompt"),
        ("completions", {"model": "stand-in", "prompt": {"text": SECRET}}, "prompt"),
        ("completions", {"model": "stand-in", "prompt": SECRET, "logprobs": 1000}, "logprobs"),
        ("embeddings", {"model": "stand-in-embedding"}, "input"),
        ("embeddings", {"model": "stand-in-embedding", "input": []}, "input"),
        ("embeddings", {"model": "stand-in-embedding", "input": [SECRET, {}]}, "input[1]"),
        ("embeddings", {"model": "stand-in-embedding", "input": SECRET, "encoding_format": "hex"}, "encoding_format"),
        ("embeddings", {"model": "stand-in-embedding", "input": SECRET, "dimensions": 10**9}, "dimensions"),
        ("rerank", {"model": "stand-in-rerank", "query": SECRET}, "documents"),
        ("rerank", {"model": "stand-in-rerank", "query": SECRET, "documents": []}, "documents"),
        ("rerank", {"model": "stand-in-rerank", "query": SECRET, "documents": ["a"] * 10_001}, "documents"),
        ("moderations", {"input": {"text": SECRET}}, "input"),
        ("images/generations", {"prompt": SECRET}, "model"),
        ("audio/speech", [SECRET], None),
    ],
)
def test_every_endpoint_names_what_is_wrong(door: Door, path: str, body: Any, param: str | None) -> None:
    heard = len(door.behind.heard)

    answer = door.post(body, path)

    assert (answer.status_code, refused(door, answer, heard)["param"]) == (400, param)


def test_a_prompt_of_ten_megabytes_is_too_large(door: Door) -> None:
    heard = len(door.behind.heard)

    answer = door.post({**ASK, "messages": [{"role": "user", "content": SECRET + "x" * (10 << 20)}]})

    assert answer.status_code == 413
    refused(door, answer, heard)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_of_another_type_is_refused(door: Door, kind: str) -> None:
    heard = len(door.behind.heard)

    answer = door.post(b"model=stand-in&messages=" + SECRET.encode(), **{"content-type": kind})

    assert answer.status_code in (400, 415)
    assert "application/json" in refused(door, answer, heard)["message"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FORM),
        (b"--x\r\n" * 100_000, FORM),
        (b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\na\r\n--x--', FORM),
        (MODEL_FIELD + b"\r\n\xff\r\n--x--", FORM),
        (MODEL_FIELD + b"\r\n" + b"m" * 10_000, FORM),
        (MODEL_FIELD * 20_000, FORM),
        (b"x", "multipart/form-data"),
        (b"{}", "application/json"),
    ],
    ids=range(8),
)
def test_a_broken_form_is_refused(door: Door, body: bytes, kind: str) -> None:
    heard = len(door.behind.heard)

    answer = door.post(body, "audio/transcriptions", **{"content-type": kind})

    assert answer.status_code == 400
    refused(door, answer, heard)


def test_a_schema_of_any_depth_neither_hangs_nor_breaks_the_server(door: Door) -> None:
    deep = nested(DEEP, b'{"type":"array","items":', b"}").replace(b":}", b":{}}", 1)
    schema = b'{"type": "json_schema", "json_schema": {"name": "deep", "schema": %b}}' % deep

    answer = door.post(with_raw("response_format", schema))

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_request_can_neither_redirect_nor_rekey_its_call(door: Door) -> None:
    url = f"http://127.0.0.1:9/{SECRET}"
    overrides = {
        "api_base": url,
        "base_url": url,
        "api_key": SECRET,
        "api_version": SECRET,
        "custom_llm_provider": SECRET,
        "extra_body": {"model": SECRET},
        "extra_headers": {"authorization": SECRET},
        "headers": {"authorization": SECRET},
    }

    answer = door.post({**ASK, **overrides}, **{"x-forwarded-host": SECRET, "openai-organization": SECRET})

    assert answer.status_code == 200
    heard = door.behind.heard[-1]
    assert not overrides.keys() & heard.json.keys()
    assert SECRET not in str(heard)


def test_of_a_member_that_comes_twice_one_is_checked_and_sent(door: Door) -> None:
    """If another one were sent than was checked, a key could ask models that it may not."""
    body = b'{"model": "no-such-model", "messages": [{"role": "user", "content": "hi"}], "n": 9999, "n": 2, '

    answer = door.post(body + b'"model": "stand-in"}')

    assert answer.status_code in (200, 400, 404)
    if answer.status_code == 200:
        assert door.behind.heard[-1].body.count(b'"model"') == 1
        assert door.behind.heard[-1].json["model"] == "stand-in"
        assert len(answer.json()["choices"]) == 2


@pytest.mark.parametrize(
    "key",
    [
        "' OR 1=1 --",
        "ih_key_x'; DROP TABLE access_keys; --",
        '" UNION SELECT * FROM access_keys --',
        "%' AND 1=randomblob(1000000000) --",
        "ih_key_" + "a" * 20_000,
        "ih_key_\N{SNOWMAN}".encode().decode("latin-1"),
    ],
    ids=range(6),
)
def test_a_key_is_no_command(door: Door, key: str) -> None:
    heard = len(door.behind.heard)

    answer = door.http.post(CHAT, json=ASK, headers={"authorization": f"Bearer {key}".encode("latin-1")})

    assert (answer.status_code, refused(door, answer, heard)["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("name", ["' OR 1=1", "../../etc/passwd", "a" * 200, "模型", "a\u0000b", "{{7*7}}", "\ud800"])
def test_a_model_name_is_only_looked_up(door: Door, name: str) -> None:
    heard = len(door.behind.heard)

    answer = door.post({**ASK, "model": name})

    assert answer.status_code in (400, 404)
    refused(door, answer, heard)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-timeout-ms": "9" * 1000},
        {"x-request-timeout-ms": "-1"},
        {"x-request-timeout-ms": "soon"},
        {"traceparent": "00-" + "f" * 1000},
        {"x-session-id": "s" * 10_000},
        {"cache-control": "max-age=" + "9" * 5000},
        {"accept-encoding": "bogus"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_odd_headers_do_no_harm(door: Door, headers: dict[str, str]) -> None:
    assert door.post(ASK, **headers).status_code == 200


def test_a_huge_header_is_refused(door: Door) -> None:
    try:
        status = door.post(ASK, **{"x-huge": "a" * (1 << 20)}).status_code
    except httpx.TransportError:
        return  # the connection may be closed before the answer is read

    assert status == 431


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 404),
        ("DELETE", "models/stand-in", 404),
        ("POST", "models", 404),
        ("POST", "chat/completions/", 404),
        ("POST", "%2e%2e/api/v1/keys", 404),
        ("POST", "responses", 404),
        ("GET", "models/" + "x" * 5000, 404),
        ("GET", "models/%00", 404),
    ],
)
def test_other_addresses_do_not_exist(door: Door, method: str, path: str, status: int) -> None:
    heard = len(door.behind.heard)

    answer = door.http.request(method, path)

    assert answer.status_code == status
    refused(door, answer, heard)


def test_who_has_no_key_learns_nothing(door: Door) -> None:
    heard = len(door.behind.heard)

    answer = door.post({**ASK, "model": "no-such-model"}, authorization="")

    assert answer.status_code == 401
    assert "stand-in" not in refused(door, answer, heard)["message"]
