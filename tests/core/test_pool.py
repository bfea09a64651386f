"""Who gets a connection to an origin, on both loops."""

import asyncio

import pytest

from core.wire import PATIENT, Caller, Wire, calling
from inhouse.core.fasthttp import EndpointBrokeOff, TooManyWaiting, Waits
from inhouse.core.http import AddressBlocked, EndpointTimedOut, EndpointUnreachable


async def test_a_connection_is_used_again(wire: Wire, caller: Caller) -> None:
    first = caller.start()
    peer = await wire.accept()
    for _ in range(3):
        await peer.answer()
        await first
        first = caller.start()
    await peer.answer()
    await first

    assert wire.accepted == 1


async def test_origins_with_the_same_host_share_connections(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.answer()
    await task
    other = caller.http.origin(f"http://127.0.0.1:{wire.port}/other/")

    task = Caller(caller.http, other).start()
    head = await peer.answer()
    await task

    assert head.startswith(b"POST /other/chat HTTP/1.1\r\n")
    assert wire.accepted == 1


@pytest.mark.parametrize("extra", [b"connection: close\r\n", b"Connection: Keep-Alive, Close\r\n"])
async def test_a_connection_that_shall_close_is_not_used_again(wire: Wire, caller: Caller, extra: bytes) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.answer(extra=extra)

    assert await task == (200, b"ok")
    assert await peer.is_left()
    task = caller.start()
    await (await wire.accept()).answer()
    await task


async def test_the_connection_used_last_is_taken_first(wire: Wire, caller: Caller) -> None:
    tasks = {caller.start(), caller.start()}
    first, second = await wire.accept(), await wire.accept()
    await first.answer()
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await second.answer()
    await asyncio.wait(tasks)

    task = caller.start()
    await second.answer(b"second")

    assert await task == (200, b"second")


async def test_a_connection_that_was_kept_too_long_is_not_used_again(wire: Wire) -> None:
    async with calling(wire, keepalive_s=0.0) as caller:
        task = caller.start()
        peer = await wire.accept()
        await peer.answer()
        await task

        task = caller.start()
        assert await peer.is_left()
        await (await wire.accept()).answer()
        await task


async def test_a_request_is_sent_again_when_its_kept_connection_had_died(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    stale = await wire.accept()
    await stale.answer()
    await task

    task = caller.start()
    await stale.request()
    stale.reset()
    await (await wire.accept()).answer(b"fresh")

    assert await task == (200, b"fresh")
    assert wire.accepted == 2


async def test_a_request_is_sent_again_only_once(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    stale = await wire.accept()
    await stale.answer()
    await task

    task = caller.start()
    await stale.request()
    stale.hang_up()
    fresh = await wire.accept()
    await fresh.request()
    fresh.hang_up()

    with pytest.raises(EndpointUnreachable):
        await task
    assert wire.accepted == 2


async def test_a_request_is_not_sent_again_once_an_answer_began(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.answer()
    await task

    task = caller.start()
    await peer.request()
    await peer.say(b"H")
    peer.hang_up()

    with pytest.raises(EndpointBrokeOff):
        await task
    assert wire.accepted == 1


async def test_a_request_on_a_new_connection_is_not_sent_again(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.request()
    peer.reset()

    with pytest.raises(EndpointUnreachable):
        await task
    assert wire.accepted == 1


async def test_a_request_keeps_its_place_when_its_kept_connection_had_died(wire: Wire) -> None:
    async with calling(wire, max_connections=1) as caller:
        task = caller.start()
        stale = await wire.accept()
        await stale.answer()
        await task
        first = caller.start()
        await stale.request()
        second = caller.start()
        await asyncio.sleep(0)

        stale.reset()
        fresh = await wire.accept()
        await fresh.answer(b"first")
        await fresh.answer(b"second")

        assert await first == (200, b"first")
        assert await second == (200, b"second")
        assert wire.accepted == 2


async def test_requests_wait_in_line_for_a_connection(wire: Wire) -> None:
    async with calling(wire, max_connections=1) as caller:
        tasks = [caller.start() for _ in range(3)]
        peer = await wire.accept()

        for number in range(3):
            await peer.answer(b"%d" % number)

        assert await asyncio.gather(*tasks) == [(200, b"0"), (200, b"1"), (200, b"2")]
        assert wire.accepted == 1


async def test_who_waits_gets_the_place_of_a_connection_that_closed(wire: Wire) -> None:
    async with calling(wire, max_connections=1) as caller:
        first, second = caller.start(), caller.start()
        peer = await wire.accept()
        await peer.answer(extra=b"connection: close\r\n")
        await (await wire.accept()).answer(b"second")

        assert await first == (200, b"ok")
        assert await second == (200, b"second")


async def test_the_line_has_an_end(wire: Wire) -> None:
    async with calling(wire, max_connections=1, max_waiting=1) as caller:
        first, second = caller.start(), caller.start()
        peer = await wire.accept()
        await asyncio.sleep(0)

        with pytest.raises(TooManyWaiting):
            await caller.send()
        await peer.answer()
        await peer.answer()
        await asyncio.gather(first, second)


async def test_who_leaves_the_line_gives_up_the_place(wire: Wire) -> None:
    async with calling(wire, max_connections=1, max_waiting=1) as caller:
        first, leaving = caller.start(), caller.start()
        peer = await wire.accept()
        leaving.cancel()
        await asyncio.wait({leaving})
        third = caller.start()

        await peer.answer(b"first")
        await peer.answer(b"third")

        assert await first == (200, b"first")
        assert await third == (200, b"third")


@pytest.mark.parametrize("is_kept", [True, False])
async def test_what_comes_for_somebody_who_just_left_is_given_on(wire: Wire, is_kept: bool) -> None:
    async with calling(wire, max_connections=1) as caller:
        pool = caller.origin.pool
        connection = await pool.open(PATIENT.connect_s)
        leaving, last = (asyncio.create_task(pool.open(PATIENT.connect_s)) for _ in range(2))
        await asyncio.sleep(0)

        if is_kept:
            pool.release(connection)
        else:
            connection.abort()
        leaving.cancel()

        assert (await last is connection) is is_kept
        assert leaving.cancelled()


async def test_failed_connections_leave_no_slot_taken(wire: Wire) -> None:
    async with calling(wire, max_connections=1) as caller:
        origin, caller.origin = caller.origin, caller.http.origin("http://10.0.0.1:9/")
        for _ in range(3):
            with pytest.raises(AddressBlocked):
                await caller.send()
        assert caller.origin.pool.take() is None

        caller.origin = origin
        task = caller.start()
        await (await wire.accept()).answer()
        await task


async def test_waiting_for_a_place_takes_no_longer_than_connecting_may(wire: Wire) -> None:
    async with calling(wire, max_connections=1) as caller:
        first = caller.start()
        peer = await wire.accept()

        with pytest.raises(EndpointTimedOut) as raised:
            await caller.send(waits=Waits(connect_s=0.01))
        await peer.answer()
        await first

    assert raised.value.details == {"phase": "connect"}


async def test_a_closed_client_breaks_off_and_refuses(wire: Wire, caller: Caller) -> None:
    task = caller.start()
    peer = await wire.accept()
    await peer.request()

    await caller.http.close()

    with pytest.raises(EndpointUnreachable):
        await task
    assert await peer.is_left()
    with pytest.raises(EndpointUnreachable):
        await caller.send(waits=PATIENT)
