"""The connection without a socket: what it makes of any bytes, cut anywhere."""

import asyncio
import gzip
import random
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.answer import Answer, EndpointBrokeOff, EndpointGarbled
from inhouse.core.http import AnswerTooLarge, EndpointTimedOut, EndpointUnreachable
from inhouse.core.http11 import Connection, Waits

TEXT = b"So long, and thanks for all the fish. " * 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
BARE_DEFLATE = zlib.compressobj(wbits=-15)
PACKED = {
    "gzip": gzip.compress(TEXT, mtime=0),
    "deflate": zlib.compress(TEXT),
    "bare deflate": BARE_DEFLATE.compress(TEXT) + BARE_DEFLATE.flush(),
}


def packed(name: str) -> bytes:
    encoding = name.split()[-1].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        encoding,
        len(PACKED[name]),
        PACKED[name],
    )


VALID = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "empty": (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
    "no reason": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "blank lines first": (b"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "padded values": (b"HTTP/1.1 200 OK\r\nx:\r\ny:   a b  \r\ncontent-length:  2 \r\n\r\nok", 200, b"ok"),
    "repeated": (b"HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "chunked": (CHUNKED + b"\r\n5\r\nhello\r\n1;name=value\r\n!\r\n0\r\n\r\n", 200, b"hello!"),
    "capital hex": (CHUNKED + b"\r\n00A\r\n0123456789\r\n0\r\n\r\n", 200, b"0123456789"),
    "trailers": (CHUNKED + b"Trailer: x\r\n\r\n2\r\nok\r\n0\r\nx: y\r\nz: 1\r\n\r\n", 200, b"ok"),
    "no content": (b"HTTP/1.1 204 No Content\r\ncontent-length: 7\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n", 304, b""),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
        b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok",
        201,
        b"ok",
    ),
    "old": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    "latin": (b"HTTP/1.1 200 OK\r\nx: caf\xe9\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
    **{name: (packed(name), 200, TEXT) for name in PACKED},
    "packed chunks": (
        CHUNKED
        + b"content-encoding: gzip\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (
            len(PACKED["gzip"]),
            PACKED["gzip"],
        ),
        200,
        TEXT,
    ),
}
TO_THE_END = {
    "no length": (b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end", 200, b"until the end"),
    "old, no length": (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
}


class Line(asyncio.Transport):
    """A transport that goes nowhere and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = asyncio.Event()
        self.unsent = 0
        self.is_reading_paused = False

    def write(self, data: Any) -> None:
        self.written += data

    @property
    def is_aborted(self) -> bool:
        return self.aborted.is_set()

    def abort(self) -> None:
        self.aborted.set()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        self.is_reading_paused = False


@dataclass
class Keeper:
    """Owns one connection."""

    name: str = "http://model"
    max_head_bytes: int = 1000
    keepalive_s: float = 30.0
    released: list[Connection] = field(default_factory=list)

    def release(self, connection: Connection) -> None:
        self.released.append(connection)

    def drop(self, connection: Connection) -> None:
        pass


class Asked:
    """A connection over which one request was sent."""

    def __init__(self, method: bytes = b"POST", keeper: Keeper | None = None, waits: Waits = Waits()) -> None:
        self.keeper = keeper or Keeper()
        self.line = Line()
        self.connection = Connection(self.keeper, asyncio.get_running_loop(), is_vetted=True)
        self.connection.connection_made(self.line)
        self.future = self.connection.ask(method + b" / HTTP/1.1\r\n\r\n", b"", waits)
        self.connection.flush()  # the end of the round

    def hear(self, *pieces: bytes) -> "Asked":
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def lose(self, error: Exception | None = None) -> "Asked":
        self.connection.connection_lost(error)
        return self

    async def result(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        answer = await self.answer()
        return answer.status, answer.headers, await answer.read(1 << 20)

    async def answer(self) -> Answer:
        assert self.future.done(), "The head is not complete."
        return await self.future


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if start < end]


@pytest.mark.parametrize("name", VALID)
async def test_a_valid_answer_is_read(name: str) -> None:
    data, status, body = VALID[name]

    asked = Asked().hear(data)

    assert (await asked.result())[::2] == (status, body)
    assert asked.line.is_aborted is (name == "old")
    assert bool(asked.keeper.released) is not asked.line.is_aborted


@pytest.mark.parametrize("name", [*VALID, *TO_THE_END])
async def test_an_answer_is_the_same_byte_by_byte(name: str) -> None:
    data, _, _ = {**VALID, **TO_THE_END}[name]
    whole, bytewise = Asked().hear(data), Asked().hear(*(bytes([byte]) for byte in data))
    if name in TO_THE_END:
        whole.lose()
        bytewise.lose()

    assert await bytewise.result() == await whole.result()
    assert len(bytewise.keeper.released) == len(whole.keeper.released)


@settings(deadline=None, max_examples=200)
@given(name=st.sampled_from(sorted(VALID)), places=st.lists(st.integers(0, 900), max_size=8))
def test_an_answer_is_the_same_wherever_it_is_cut(name: str, places: list[int]) -> None:
    data, status, body = VALID[name]

    async def check() -> None:
        asked = Asked().hear(*cut(data, [place % len(data) for place in places]))
        assert (await asked.result())[::2] == (status, body)

    asyncio.run(check())


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
@pytest.mark.parametrize("name", VALID)
async def test_an_answer_that_ends_early_is_never_taken_for_whole(name: str, error: Exception | None) -> None:
    data, _, _ = VALID[name]
    for length in range(len(data)):
        asked = Asked().hear(*filter(None, [data[:length]])).lose(error)

        with pytest.raises(EndpointBrokeOff if length else EndpointUnreachable):
            await asked.result()


@pytest.mark.parametrize("name", TO_THE_END)
async def test_an_answer_without_length_ends_with_the_connection(name: str) -> None:
    data, status, body = TO_THE_END[name]

    asked = Asked().hear(data).lose()

    assert (await asked.result())[::2] == (status, body)
    assert asked.keeper.released == []


async def test_an_answer_without_length_is_cut_by_a_reset() -> None:
    asked = Asked().hear(TO_THE_END["no length"][0]).lose(ConnectionResetError())

    with pytest.raises(EndpointBrokeOff):
        await asked.result()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>hello</html>",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 99 Strange\r\n\r\n",
        b"HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\x00b\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx: a\rlocation: b\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        CHUNKED + b"\r\n0x2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"\r\nFFFFFFFFFFFFFFFFFF\r\nok",
        CHUNKED + b"\r\n2\r\nokay\r\n0\r\n\r\n",
        CHUNKED + b"\r\nzz\r\n",
    ],
)
@pytest.mark.parametrize("is_cut", [False, True])
async def test_what_is_not_http_is_refused(data: bytes, is_cut: bool) -> None:
    asked = Asked().hear(*([bytes([byte]) for byte in data] if is_cut else [data])).lose()

    with pytest.raises(EndpointGarbled):
        await asked.result()
    assert asked.line.is_aborted


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(VALID)),
    seed=st.integers(0, 1 << 30),
    noise=st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_damaged_bytes_raise_nothing_but_our_errors(name: str, seed: int, noise: list[bytes]) -> None:
    dice = random.Random(seed)
    data = VALID[name][0]
    for piece in noise:
        place = dice.randrange(len(data))
        data = data[:place] + piece + data[place + dice.randrange(3) :]

    async def check() -> None:
        asked = Asked().hear(*cut(data, [dice.randrange(len(data))])).lose()
        with suppress(EndpointBrokeOff, EndpointGarbled, EndpointUnreachable):
            await asked.result()

    asyncio.run(check())


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"])
async def test_what_follows_an_answer_is_not_taken_for_the_next_one(surplus: bytes) -> None:
    asked = Asked().hear(VALID["length"][0] + surplus)

    assert (await asked.result())[2] == b"hello"
    assert asked.line.is_aborted
    assert asked.keeper.released == []


async def test_a_connection_that_still_sends_its_request_carries_no_other() -> None:
    asked = Asked()
    asked.line.unsent = 1

    asked.hear(VALID["empty"][0])

    assert (await asked.result())[0] == 404
    assert asked.line.is_aborted
    assert asked.keeper.released == []


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    asked = Asked().hear(VALID["length"][0], b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")

    assert (await asked.result())[2] == b"hello"
    assert asked.line.is_aborted


async def test_the_answer_to_head_has_no_body() -> None:
    asked = Asked(b"HEAD").hear(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-encoding: gzip\r\n\r\n")

    answer = await asked.answer()

    assert await answer.read(0) == b""
    assert answer.header(b"content-length") == b"7"


async def test_headers_are_found_by_their_lower_case_name() -> None:
    answer = await Asked().hear(VALID["repeated"][0]).answer()

    assert answer.header(b"set-cookie") == b"a, b"
    assert answer.header(b"absent") == b""
    assert answer.headers[:2] == [(b"set-cookie", b"a"), (b"set-cookie", b"b")]


async def test_an_unpacked_answer_says_nothing_of_its_packing() -> None:
    answer = await Asked().hear(packed("gzip")).answer()

    assert answer.header(b"content-encoding") == answer.header(b"content-length") == b""
    assert answer.headers == []


@pytest.mark.parametrize("limit", [1000, 960])
@pytest.mark.parametrize("body", [b"", b"x" * 2000])
async def test_a_head_may_be_so_large_and_no_larger(limit: int, body: bytes) -> None:
    length = b"content-length: %d\r\n" % len(body)
    filler = b"x: %b\r\n" % (b"y" * (1000 - len(b"HTTP/1.1 200 OK\r\n\r\n") - len(length) - len(b"x: \r\n")))

    asked = Asked(keeper=Keeper(max_head_bytes=limit)).hear(b"HTTP/1.1 200 OK\r\n" + filler + length + b"\r\n" + body)

    if limit == 1000:
        assert (await asked.result())[2] == body
    else:
        with pytest.raises(EndpointGarbled, match="too large"):
            await asked.result()


@pytest.mark.parametrize(
    "data",
    [b"HTTP/1.1 200 " + b"y" * 2000, b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2000, b"HTTP/1.1 103 Hints\r\n\r\n" * 100],
)
async def test_a_head_without_end_is_given_up(data: bytes) -> None:
    asked = Asked().hear(*cut(data, list(range(0, len(data), 100))))

    with pytest.raises(EndpointGarbled, match="too large"):
        await asked.result()


@pytest.mark.parametrize("tail", [b"1;" + b"x" * 2000, b"0\r\nx: " + b"y" * 2000, b"0\r\n" + b"x: y\r\n" * 400])
async def test_trailers_and_extensions_without_end_are_given_up(tail: bytes) -> None:
    asked = Asked().hear(CHUNKED + b"\r\n2\r\nok\r\n", *cut(tail, list(range(0, len(tail), 100))))
    answer = await asked.answer()

    assert await answer.part() == b"ok"
    with pytest.raises(EndpointGarbled, match="too large"):
        await answer.part()


async def test_what_came_before_an_error_can_still_be_read() -> None:
    answer = await Asked().hear(CHUNKED + b"\r\n2\r\nok\r\nzz\r\n").answer()

    assert await answer.part() == b"ok"
    with pytest.raises(EndpointGarbled):
        await answer.part()
    with pytest.raises(EndpointGarbled):
        await answer.part()


async def test_parts_are_all_that_has_arrived() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n", b"1\r\na\r\n", b"1\r\nb\r\n1\r\nc\r\n")
    answer = await asked.answer()

    assert await answer.part() == b"abc"
    asked.hear(b"1\r\nd\r\n0\r\n\r\n")
    assert [await answer.part(), await answer.part(), await answer.part()] == [b"d", b"", b""]


async def test_a_reader_is_woken_by_the_next_part() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n")
    answer = await asked.answer()
    reading = asyncio.ensure_future(answer.part())
    await asyncio.sleep(0)
    assert not reading.done()

    asked.hear(b"1\r\na\r\n")

    assert await reading == b"a"


async def test_nothing_waits_when_the_whole_answer_is_here() -> None:
    asked = Asked().hear(VALID["length"][0])
    answer = asked.future.result()

    with pytest.raises(StopIteration) as done:
        answer.read(5).send(None)

    assert done.value.value == b"hello"


async def test_an_unread_answer_holds_the_other_side_back() -> None:
    asked = Asked().hear(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n", b"x" * 200_000)
    answer = await asked.answer()
    assert not asked.line.is_reading_paused

    asked.hear(b"x" * 100_000)
    assert asked.line.is_reading_paused

    assert len(await answer.part()) == 300_000
    assert not asked.line.is_reading_paused


async def test_an_answer_over_the_limit_is_given_up() -> None:
    asked = Asked().hear(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n", b"x" * 2000)
    answer = await asked.answer()

    with pytest.raises(AnswerTooLarge):
        await answer.read(1999)
    assert asked.line.is_aborted


async def test_an_answer_past_its_deadline_is_given_up() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n2\r\nok\r\n")
    answer = await asked.answer()

    with pytest.raises(EndpointTimedOut) as raised:
        await answer.read(100, deadline=asyncio.get_running_loop().time() - 1)
    assert raised.value.details == {"phase": "total"}
    assert asked.line.is_aborted


@pytest.mark.parametrize("limit", [4, 5])
async def test_the_limit_is_exact(limit: int) -> None:
    answer = await Asked().hear(VALID["length"][0]).answer()

    if limit == 5:
        assert await answer.read(limit) == b"hello"
    else:
        with pytest.raises(AnswerTooLarge):
            await answer.read(limit)


async def test_a_bomb_is_unpacked_in_bounded_pieces() -> None:
    bomb = gzip.compress(bytes(50 << 20), mtime=0)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    answer = await Asked().hear(head + bomb).answer()

    assert 0 < len(await answer.part()) <= 256 << 10
    with pytest.raises(AnswerTooLarge):
        await answer.read(1 << 20)


@pytest.mark.parametrize("name", PACKED)
async def test_a_packed_body_that_is_cut_off_is_not_whole(name: str) -> None:
    body = PACKED[name][:-1] if name != "bare deflate" else PACKED[name][:-2]
    encoding = name.split()[-1].encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (encoding, len(body))

    with pytest.raises(EndpointBrokeOff):
        await Asked().hear(head + body).result()


@pytest.mark.parametrize("body", [b"not packed", PACKED["gzip"] + b"more", PACKED["gzip"][:-8] + b"\0" * 8])
async def test_a_packed_body_that_is_damaged_is_refused(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body)

    with pytest.raises(EndpointGarbled):
        await Asked().hear(head + body).result()


async def test_an_empty_body_needs_no_unpacking() -> None:
    asked = Asked().hear(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n")

    assert (await asked.result())[2] == b""


async def test_giving_up_a_complete_answer_leaves_the_connection_alone() -> None:
    asked = Asked().hear(VALID["length"][0])
    answer = await asked.answer()

    answer.abort()
    answer.abort()

    assert not asked.line.is_aborted
    assert await answer.read(5) == b"hello"


async def test_giving_up_an_incomplete_answer_wakes_its_reader() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n")
    answer = await asked.answer()
    reading = asyncio.ensure_future(answer.part())
    await asyncio.sleep(0)

    answer.abort()

    with pytest.raises(EndpointBrokeOff):
        await reading
    assert asked.line.is_aborted


async def test_errors_name_the_origin_and_nothing_else() -> None:
    with pytest.raises(EndpointGarbled) as raised:
        await Asked().hear(b"HTTP/1.1 200 OK\r\nx: sk-secret\x00\r\n\r\n").result()

    assert "http://model" in raised.value.message
    assert "secret" not in cast("str", raised.value.message) + str(raised.value.details)


async def test_a_connection_that_nobody_uses_runs_out() -> None:
    asked = Asked(keeper=Keeper(keepalive_s=0.001), waits=Waits(head_s=0.01, idle_s=0.01)).hear(VALID["length"][0])
    assert not asked.line.is_aborted

    await asyncio.wait_for(asked.line.aborted.wait(), 5)


async def test_a_slow_reader_is_no_reason_to_give_the_other_side_up() -> None:
    asked = Asked(waits=Waits(idle_s=0.0))
    asked.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 300001\r\n\r\n", b"x" * 300_000)
    answer = await asked.answer()

    for _ in range(10):
        await asyncio.sleep(0)  # time for the timer, which would fire at once

    assert not asked.line.is_aborted
    assert len(await answer.part()) == 300_000
    with pytest.raises(EndpointTimedOut):
        await answer.part()


async def test_a_connection_is_kept_when_an_answer_ends_soon_after_its_reader_had_enough() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n2\r\nok\r\n")
    answer = await asked.answer()
    await answer.part()

    answer.finish()
    asked.hear(b"4\r\nlate\r\n0\r\n\r\n")

    assert asked.keeper.released == [asked.connection]
    assert await answer.part() == b""


async def test_an_answer_that_does_not_end_after_its_reader_had_enough_is_given_up() -> None:
    asked = Asked().hear(CHUNKED + b"\r\n2\r\nok\r\n")
    answer = await asked.answer()

    answer.finish()
    for _ in range(100):
        asked.hear(b"4\r\nlate\r\n")

    await asyncio.wait_for(asked.line.aborted.wait(), 5)
    assert asked.keeper.released == []


async def test_an_answer_to_a_request_that_has_not_left_yet_ends_the_connection() -> None:
    line = Line()
    connection = Connection(Keeper(), asyncio.get_running_loop(), is_vetted=True)
    connection.connection_made(line)
    connection.ask(b"GET / HTTP/1.1\r\n\r\n", b"", Waits())

    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    assert line.is_aborted
