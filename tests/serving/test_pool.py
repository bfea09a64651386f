import asyncio
import gc
import weakref

import pytest

from inhouse.core.errors import NotFound
from inhouse.serving.artifact import ArtifactBroken
from inhouse.serving.pool import Key, Pool

from .conftest import Shelf

V1, V2 = Key("default", "intent", 1), Key("default", "intent", 2)


async def test_a_model_is_loaded_once_for_all_its_first_callers(pool: Pool, shelf: Shelf):
    served = await asyncio.gather(*(pool.get(V1) for _ in range(20)))

    assert shelf.asked == 1
    assert len(set(map(id, served))) == 1


async def test_versions_answer_side_by_side(pool: Pool):
    old, new = await pool.get(V1), await pool.get(V2)

    [[before], [after]] = await asyncio.gather(old.predict(["tunnel"]), new.predict(["tunnel"]))

    assert before["scores"]["vpn"] == pytest.approx(0.5)
    assert after["scores"]["vpn"] > 0.9


async def test_a_caller_that_leaves_while_loading_does_not_fail_the_others(pool: Pool):
    leaving, staying = asyncio.create_task(pool.get(V1)), asyncio.create_task(pool.get(V1))
    await asyncio.sleep(0)
    leaving.cancel()

    assert (await staying).manifest.labels == ["leave", "vpn"]


async def test_a_version_that_cannot_be_loaded_can_be_tried_again(pool: Pool, shelf: Shelf):
    manifest = shelf.root / "intent" / "1" / "manifest.json"
    good = manifest.read_bytes()
    manifest.write_text("{")
    with pytest.raises(ArtifactBroken):
        await pool.get(V1)
    manifest.write_bytes(good)

    assert (await pool.get(V1)).is_idle


async def test_an_unknown_version_is_not_found(pool: Pool):
    with pytest.raises(NotFound, match="no version 9"):
        await pool.get(Key("default", "intent", 9))


async def test_calls_on_a_model_that_is_unloaded_finish(pool: Pool):
    served = await pool.get(V1)
    running = asyncio.create_task(served.predict(["vpn"]))
    await asyncio.sleep(0)
    pool.unload(V1)

    assert (await running)[0]["scores"]["vpn"] > 0.9
    assert pool.loaded == []


async def test_an_unloaded_model_leaves_memory(pool: Pool):
    gone = weakref.ref(await pool.get(V1))
    pool.unload(V1)
    await asyncio.sleep(0)
    gc.collect()

    assert gone() is None


async def test_above_the_memory_budget_the_longest_unused_model_goes(shelf: Shelf):
    pool = Pool(shelf, memory_bytes=1)
    await pool.get(V1)
    await pool.get(V2)

    assert pool.loaded == [V2]
    await pool.close()


async def test_an_idle_model_is_unloaded_and_loaded_again_on_its_next_call(shelf: Shelf):
    pool = Pool(shelf, idle_s=0)
    await pool.get(V1)
    await asyncio.sleep(0.01)

    assert pool.loaded == []
    assert (await (await pool.get(V1)).predict(["vpn"]))[0]["scores"]["vpn"] > 0.9
    assert shelf.asked == 2
    await pool.close()
