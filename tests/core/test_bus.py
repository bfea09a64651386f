import asyncio

from inhouse.core.bus import Bus


def test_a_notice_reaches_this_process_at_once() -> None:
    heard: list[str] = []
    bus = Bus()
    bus.listen("deployments", lambda: heard.append("deployments"))

    bus.publish("deployments")
    bus.publish("something else")

    assert heard == ["deployments"]


async def test_a_notice_reaches_the_other_servers(redis_url: str) -> None:
    heard = asyncio.Event()
    loop = asyncio.get_running_loop()
    here, there = Bus(redis_url), Bus(redis_url)
    refreshes: list[int] = []
    there.listen(
        "workflows", lambda: refreshes.append(1) or (len(refreshes) > 1 and loop.call_soon_threadsafe(heard.set))
    )
    await here.start()
    await there.start()

    async with asyncio.timeout(20):
        while not heard.is_set():
            here.publish("workflows")
            await asyncio.sleep(0.05)
    await here.close()
    await there.close()

    assert heard.is_set()


async def test_without_redis_the_server_goes_on() -> None:
    heard: list[int] = []
    bus = Bus("redis://127.0.0.1:9/0", retry_s=0.01)
    bus.listen("keys", lambda: heard.append(1))
    await bus.start()

    bus.publish("keys")
    await asyncio.sleep(0.05)
    await bus.close()

    assert heard == [1]
