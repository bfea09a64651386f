"""Requests that no well-meaning client sends: each is refused in its own terms, fast, and the server goes on."""

import time
from collections.abc import Iterator

import httpx
import pytest

from server.conftest import Server

HOST = b"Host: localhost\r\n"
CLOSE = b"Connection: close\r\n\r\n"
UPLOAD = b"--x\r\nContent-Disposition: form-data; name=file; filename=a.csv\r\n\r\n"


@pytest.fixture(autouse=True)
def unharmed(server: Server) -> Iterator[None]:
    """No test may leave an unexpected error in the log, nor the server slow."""
    before = server.log.stat().st_size
    yield
    with server.log.open("rb") as log:
        log.seek(before)
        assert b"Traceback" not in log.read()
    with server.client("") as client:
        started = time.perf_counter()
        assert client.get("/healthz").status_code == 200
        assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", 421),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE, 421),
        (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + CLOSE, 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n" + CLOSE, 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n" + CLOSE, 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n" + CLOSE, 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" + CLOSE + b"ZZ\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n" + CLOSE, 400),
        (b"GET /api/v1/datasets/\xff HTTP/1.1\r\n" + HOST + CLOSE, 400),
        (b"GET /api/v1/me HTTP/1.1\r\n" + HOST + b"Cookie: inhouse_session=\xff\xfe\r\n" + CLOSE, 401),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE, 405),
        (b"GET /api/v1/me HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: upgrade, close\r\n\r\n", 401),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_malformed_requests_are_refused(server: Server, request_: bytes, status: int) -> None:
    assert server.raw(request_).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "head",
    [
        b"X: " + b"a" * (1 << 20),
        b"".join(b"X-%d: a\r\n" % number for number in range(50_000)),
        b"Authorization: Bearer " + b"a" * (1 << 20),
        b"Cookie: inhouse_session=" + b"a; b=" * (1 << 18),
    ],
    ids=["long", "many", "bearer", "cookie"],
)
def test_a_huge_head_is_not_read_to_its_end(server: Server, head: bytes) -> None:
    started = time.perf_counter()

    answer = server.raw(b"GET /healthz HTTP/1.1\r\n" + HOST + head + b"\r\n" + CLOSE)

    assert not answer or answer.startswith(b"HTTP/1.1 431")  # the connection may be reset before the answer is read
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("path", ["/api/v1/datasets", "/api/v1/auth/login", "/v1/chat/completions", "/predict", "/x"])
@pytest.mark.parametrize("has_length", [True, False])
def test_who_has_not_signed_in_is_not_listened_to_for_long(nobody: httpx.Client, path: str, has_length: bool) -> None:
    parts = [UPLOAD, *[b"x" * 20_000] * 10]
    body = b"".join(parts) if has_length else iter(parts)

    answer = nobody.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=x"})

    assert answer.status_code in (401, 405)


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/chat/completions", 413), ("/predict", 413), ("/api/v1/apps/desk/chat", 413)]
)
def test_ten_megabytes_are_refused_at_once(admin: httpx.Client, path: str, status: int) -> None:
    started = time.perf_counter()

    answer = admin.post(path, json={"text": "x" * 10_000_000})

    assert answer.status_code == status
    assert "larger than" in str(answer.json()["error"]["message"])
    assert time.perf_counter() - started < 2


def test_a_body_without_a_length_is_counted(admin: httpx.Client) -> None:
    answer = admin.post("/api/v1/apps/desk/chat", content=(b" " * (1 << 20) for _ in range(6)))

    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../app.py",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/assets/..%2f..%2fapp.py",
        "/..%5c..%5capp.py",
        "/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/" + "a" * 5_000,
        "/static/../../inhouse.db",
        "/file:///etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_console(server: Server, path: str) -> None:
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    assert answer[9:12] in (b"200", b"404")  # a page of the console, or nothing
    assert b"root:" not in answer
    assert b"import " not in answer.partition(b"\r\n\r\n")[2][:2_000]


@pytest.mark.parametrize("path", ["/api/../v1/models", "/healthz/../api/v1/keys", "/api/v1/keys/", "/api/v1//keys"])
def test_no_detour_leads_past_the_door(server: Server, path: str) -> None:
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())

    assert answer[9:12] in (b"401", b"404")
    assert b"location:" not in answer.lower()


@pytest.mark.parametrize("header", ["x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url"])
def test_no_header_changes_what_is_asked(admin: httpx.Client, header: str) -> None:
    assert admin.post("/api/v1/me", headers={header: "GET"}).status_code == 405
    assert admin.get("/healthz", headers={header: "/api/v1/keys"}).json()["status"] == "ok"


def test_the_later_of_two_keys_counts_and_never_the_sum(server: Server) -> None:
    lines = f"Authorization: Bearer {server.admin}\r\nAuthorization: Bearer nonsense\r\n".encode()

    assert server.raw(b"GET /api/v1/me HTTP/1.1\r\n" + HOST + lines + CLOSE).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("path", ["/", "/api/v1/me", "/v1/models", "/predict", "/healthz", "/docs", "/nowhere.txt"])
@pytest.mark.parametrize("as_admin", [True, False])
def test_every_answer_is_dressed(server: Server, path: str, as_admin: bool) -> None:
    with server.client(None if as_admin else "") as client:
        headers = client.get(path, headers={"x-forwarded-host": "evil.example"}).headers

    assert headers["x-content-type-options"] == "nosniff"
    if path not in ("/v1/models", "/predict"):  # programs need no word on scripts and referrers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"].startswith("req_")
    assert path in ("/", "/nowhere.txt") or headers["cache-control"] == "no-store"
    assert "server" not in headers
    assert "evil.example" not in str(headers)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "///;;=", "application/x-www-form-urlencoded", "multipart/form-data", "x" * 2_000]
)
def test_json_comes_as_json(admin: httpx.Client, content_type: str) -> None:
    answer = admin.post("/api/v1/knowledge", content=b'{"name": "never"}', headers={"content-type": content_type})

    assert answer.status_code == 422
    assert admin.get("/api/v1/knowledge/never").status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/datasets", b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\n1\r\n" * 10_000 + b"--x--\r\n"),
        (
            "/api/v1/datasets",
            b'--x\r\nContent-Disposition: form-data; name="' + b"a" * 1_000_000 + b'"\r\n\r\n\r\n--x--',
        ),
        (
            "/api/v1/datasets",
            b"--x\r\nContent-Disposition: form-data; name=name\r\n\r\n" + b"a" * 5_000_000 + b"\r\n--x--",
        ),
        ("/api/v1/datasets", b"--x\r\nContent-Disposition: form"),
        ("/api/v1/knowledge/handbook/documents", b"--x\r\nContent-Disposition: form-data; name=files\r\n\r\n\r\n--x--"),
    ],
    ids=["many parts", "long part header", "long field", "cut off", "no file"],
)
def test_odd_forms_are_refused(admin: httpx.Client, path: str, body: bytes) -> None:
    answer = admin.post(path, content=body, headers={"content-type": "multipart/form-data; boundary=x"})

    assert answer.status_code in (413, 422)
    assert answer.json()["error"]["message"]
