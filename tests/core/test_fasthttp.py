"""The fast client over real sockets, on both loops."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from core.test_http11 import TO_THE_END, VALID
from core.wire import PATIENCE_S, PATIENT, Caller, Peer, Wire, listening
from inhouse.core.fasthttp import EndpointBrokeOff, EndpointGarbled, FastHttp, Waits
from inhouse.core.http import AddressBlocked, BadUrl, EndpointTimedOut, EndpointUnreachable

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"


async def test_a_request_says_what_was_given_and_where(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()

    head, body = await peer.request()
    await peer.say(HEAD + b"hello")

    assert await task == (200, b"hello")
    assert body == b"{}"
    assert head == (
        b"POST /v1/chat HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
        b"authorization: Bearer sk-secret\r\ncontent-length: 2\r\n\r\n" % wire.port
    )


async def test_a_large_request_arrives_whole(wire: Wire, caller: Caller) -> None:
    body = bytes(range(256)) * 20_000
    task = asyncio.create_task(caller.send(body=body))
    peer = await wire.accept()

    _, heard = await peer.request()
    await peer.say(HEAD + b"hello")

    assert heard == body
    assert await (await task).read(5) == b"hello"


async def test_a_request_without_body_says_no_length(wire: Wire, caller: Caller) -> None:
    task = asyncio.create_task(caller.send(b"GET", b"", b""))

    head = await (await wire.accept()).answer()
    await task

    assert head.startswith(b"GET /v1 HTTP/1.1\r\n")
    assert b"content-length" not in head


@pytest.mark.parametrize("name", sorted({*VALID, *TO_THE_END} - {"blank lines first"}))  # httpx refuses those
async def test_odd_answers_are_read_as_httpx_reads_them(wire: Wire, caller: Caller, name: str) -> None:
    data, _, _ = {**VALID, **TO_THE_END}[name]

    async with httpx.AsyncClient(trust_env=False) as slow:
        theirs = asyncio.create_task(slow.get(f"http://127.0.0.1:{wire.port}/v1/chat"))
        await said_and_left(await wire.accept(), data)
        expected = await theirs
    ours = asyncio.create_task(caller.send(b"GET", body=b""))
    await said_and_left(await wire.accept(), data)
    answer = await ours

    dropped = ("content-encoding", "content-length") if "content-encoding" in expected.headers else ()
    assert answer.status == expected.status_code
    assert await answer.read(1 << 20) == expected.content
    assert answer.headers == [
        (name.lower(), value) for name, value in expected.headers.raw if name.lower().decode() not in dropped
    ]


async def said_and_left(peer: Peer, data: bytes) -> None:
    await peer.request()
    await peer.say(data)
    peer.hang_up()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(wire: Wire, caller: Caller, status: int) -> None:
    task = asyncio.create_task(caller.send())
    peer = await wire.accept()
    await peer.request()
    await peer.say(b"HTTP/1.1 %d Elsewhere\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n" % status)

    answer = await task

    assert (answer.status, answer.header(b"location")) == (status, b"http://169.254.169.254/")
    assert wire.accepted == 1


async def test_a_body_that_breaks_off_is_an_error_at_every_byte(wire: Wire, caller: Caller) -> None:
    data = HEAD + b"hello"
    for length in range(1, len(data)):
        task = caller.start()
        peer = await wire.accept()
        await peer.request()
        await peer.say(data[:length])
        peer.reset() if length % 2 else peer.hang_up()

        with pytest.raises((EndpointBrokeOff, EndpointUnreachable)):
            await task


async def test_nobody_there_is_unreachable() -> None:
    http = FastHttp(lambda host, port: True)

    with pytest.raises(EndpointUnreachable) as raised:
        await http.send(http.origin("http://127.0.0.1:9/x"), b"GET", b"/sk-secret", b"", b"", waits=PATIENT)
    await http.close()

    assert "http://127.0.0.1:9" in raised.value.message
    assert "secret" not in raised.value.message


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    http = FastHttp(lambda host, port: True)

    with pytest.raises(EndpointUnreachable):
        await http.send(http.origin("http://nobody.invalid/"), b"GET", b"/", b"", b"", waits=PATIENT)
    await http.close()


async def test_another_protocol_is_garbled(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.request()
    await peer.say(b"SSH-2.0-OpenSSH_9.2\r\n")

    with pytest.raises(EndpointGarbled):
        await task
    assert await peer.is_left()


@pytest.mark.parametrize(
    ("said", "waits", "phase"),
    [
        (b"", Waits(head_s=0.01), "head"),
        (b"HTTP/1.1 200 OK\r\n", Waits(head_s=0.01), "head"),
        (HEAD, Waits(idle_s=0.01), "idle"),
        (HEAD + b"hell", Waits(idle_s=0.01), "idle"),
    ],
)
async def test_each_phase_has_its_own_patience(
    wire: Wire, caller: Caller, said: bytes, waits: Waits, phase: str
) -> None:
    task = caller.start(waits)
    peer = await wire.accept()
    await peer.request()
    with suppress(ConnectionError):
        await peer.say(said)

    with pytest.raises(EndpointTimedOut) as raised:
        await task
    assert raised.value.details == {"phase": phase}
    assert await peer.is_left()


async def test_a_deadline_can_be_earlier_than_the_one_before(wire: Wire, caller: Caller) -> None:
    task = caller.start(Waits(head_s=1000, idle_s=1000))
    peer = await wire.accept()
    await peer.answer()
    await task

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(EndpointTimedOut):
            await caller.send(waits=Waits(head_s=0.01))
    assert wire.accepted == 1


async def test_looking_up_a_name_counts_as_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    http = FastHttp(lambda host, port: True)

    async def lookup(*_: Any, **__: Any) -> list[Any]:
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)

    with pytest.raises(EndpointTimedOut) as raised:
        await http.send(http.origin("http://slow.test/"), b"GET", b"/", b"", b"", waits=Waits(connect_s=0.01))
    await http.close()

    assert raised.value.details == {"phase": "connect"}


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200"])
async def test_who_leaves_before_the_answer_is_missed_at_once(wire: Wire, caller: Caller, said: bytes) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.request()
    await peer.say(said)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await peer.is_left()


@pytest.mark.parametrize("said", [b"", b"hell"])
async def test_who_leaves_during_the_answer_is_missed_at_once(wire: Wire, caller: Caller, said: bytes) -> None:
    task = asyncio.create_task(caller.send())
    peer = await wire.accept()
    await peer.request()
    await peer.say(HEAD + said)
    reading = asyncio.create_task((await task).read(5))
    await asyncio.sleep(0)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await peer.is_left()


async def test_giving_up_a_streamed_answer_closes_its_connection(wire: Wire, caller: Caller) -> None:
    task = asyncio.create_task(caller.send())
    peer = await wire.accept()
    await peer.request()
    await peer.say(HEAD + b"hell")
    answer = await task

    answer.abort()
    answer.abort()

    assert await peer.is_left()


async def test_a_slow_reader_holds_the_other_side_back(wire: Wire, caller: Caller) -> None:
    task = asyncio.create_task(caller.send())
    peer = await wire.accept()
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (32 << 20))
    answer = await task

    async def say() -> None:
        for _ in range(32):
            await peer.say(bytes(1 << 20))

    saying = asyncio.create_task(say())
    for _ in range(500):
        await asyncio.sleep(0)

    assert 256 << 10 < answer.unread < 1 << 20
    assert not saying.done()
    assert len(await answer.read(32 << 20)) == 32 << 20
    await saying


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"POST", b"/a b", b""),
        (b"POST", b"/a\r\nx: y", b""),
        (b"POST", b"/a\n", b""),
        (b"POST", b"chat", b""),
        (b"POST", b"http://169.254.169.254/", b""),
        (b"POST", "/caf\xe9".encode(), b""),
        (b"PO ST", b"/", b""),
        (b"", b"/", b""),
        (b"POST", b"/", b"x: y"),
        (b"POST", b"/", b"x: y\r\n\r\nGET / HTTP/1.1\r\n"),
        (b"POST", b"/", b"\r\nGET / HTTP/1.1\r\n"),
    ],
)
async def test_a_request_cannot_smuggle_another(
    wire: Wire, caller: Caller, method: bytes, target: bytes, headers: bytes
) -> None:
    with pytest.raises(BadUrl):
        await caller.http.send(caller.origin, method, target, headers, b"", waits=PATIENT)

    assert wire.accepted == 0


@pytest.mark.parametrize("url", ["", "x", "file:///etc/passwd", "http://u:p@host/", "http://a:99999/", "http://h/?x=1"])
def test_an_origin_is_a_plain_web_address(url: str) -> None:
    with pytest.raises(BadUrl):
        FastHttp(lambda host, port: True).origin(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "localhost.",
    ],
)
async def test_no_spelling_of_this_machine_is_reached(wire: Wire, host: str) -> None:
    http = FastHttp(lambda host, port: False)

    with pytest.raises((AddressBlocked, EndpointUnreachable, BadUrl)):
        await http.send(http.origin(f"http://{host}:{wire.port}/"), b"GET", b"/", b"", b"", waits=PATIENT)
    await http.close()

    assert wire.accepted == 0


async def test_the_port_beside_a_registered_one_stays_closed(wire: Wire, caller: Caller) -> None:
    async with listening() as beside:
        origin = caller.http.origin(f"http://127.0.0.1:{beside.port}/")

        with pytest.raises(AddressBlocked):
            await caller.http.send(origin, b"GET", b"/", b"", b"", waits=PATIENT)

        assert beside.accepted == 0


Lookup = Callable[..., Any]


def names(*addresses: str) -> Lookup:
    """A look-up that finds these addresses, one list a time; the last stays."""
    answers = [address.split() for address in addresses]

    async def lookup(host: str, port: int, **_: Any) -> list[Any]:
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    return lookup


async def test_a_name_with_one_private_address_is_blocked(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names("93.184.216.34 127.0.0.1"))
    http = FastHttp(lambda host, port: False)

    with pytest.raises(AddressBlocked):
        await http.send(http.origin(f"http://many.test:{wire.port}/"), b"GET", b"/", b"", b"", waits=PATIENT)
    await http.close()

    assert wire.accepted == 0


async def test_a_name_that_moves_inside_is_blocked_on_its_next_connection(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection is vetted for itself, and goes to the address that was vetted."""
    asked: list[str] = []
    loop = asyncio.get_running_loop()

    async def refuse(factory: Any, host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        raise ConnectionRefusedError

    monkeypatch.setattr(loop, "getaddrinfo", names("93.184.216.34 93.184.216.35", "127.0.0.1"))
    monkeypatch.setattr(loop, "create_connection", refuse)
    http = FastHttp(lambda host, port: False)
    origin = http.origin(f"http://moves.test:{wire.port}/")

    with pytest.raises(EndpointUnreachable):
        await http.send(origin, b"GET", b"/", b"", b"", waits=PATIENT)
    with pytest.raises(AddressBlocked):
        await http.send(origin, b"GET", b"/", b"", b"", waits=PATIENT)
    await http.close()

    assert asked == ["93.184.216.34", "93.184.216.35"]


async def test_the_next_address_is_tried_when_one_refuses(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names("127.0.0.2 127.0.0.1"))
    http = FastHttp(lambda host, port: host == "two.test")
    caller = Caller(http, http.origin(f"http://two.test:{wire.port}/"))

    task = caller.start()
    head = await (await wire.accept()).answer()

    assert await task == (200, b"ok")
    assert b"host: two.test:%d\r\n" % wire.port in head
    await http.close()


async def test_an_endpoint_that_was_disconnected_is_not_visited_again(wire: Wire) -> None:
    registered = {("127.0.0.1", wire.port)}
    http = FastHttp(lambda host, port: (host, port) in registered)
    caller = Caller(http, http.origin(f"http://127.0.0.1:{wire.port}/"))
    task = caller.start()
    peer = await wire.accept()
    await peer.answer()
    await task

    registered.clear()

    with pytest.raises(AddressBlocked):
        await caller.send()
    assert await peer.is_left()
    await http.close()


async def test_proxy_settings_of_the_environment_are_ignored(
    wire: Wire, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    task = caller.start()
    await (await wire.accept()).answer()

    assert await task == (200, b"ok")


def certificate(folder: Path) -> ssl.SSLContext:
    """The server's side of TLS for 127.0.0.1; `ca.pem` in the folder vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "model server")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    return context


@pytest.fixture
def server_tls(tmp_path: Path) -> ssl.SSLContext:
    return certificate(tmp_path)


async def test_a_server_with_a_trusted_certificate_is_reached(
    server_tls: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    http = FastHttp(lambda host, port: True)

    async with listening(server_tls) as wire:
        caller = Caller(http, http.origin(f"https://127.0.0.1:{wire.port}/"))
        task = caller.start()
        peer = await wire.accept()
        await peer.answer(b"x" * 500_000)
        assert await task == (200, b"x" * 500_000)
        task = caller.start()
        await peer.answer()
        assert await task == (200, b"ok")
        await http.close()


async def test_a_server_with_a_strange_certificate_is_not_talked_to(server_tls: ssl.SSLContext) -> None:
    http = FastHttp(lambda host, port: True)

    async with listening(server_tls) as wire:
        with pytest.raises(EndpointUnreachable) as raised:
            await Caller(http, http.origin(f"https://127.0.0.1:{wire.port}/")).send()
        await http.close()

    assert "certificate" in raised.value.hint
