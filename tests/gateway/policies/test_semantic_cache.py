from collections.abc import Sequence
from typing import Any

import numpy as np

from inhouse.core.errors import Unavailable
from inhouse.gateway.call import Call
from inhouse.gateway.policies.semantic_cache import SemanticCache, SemanticCacheSettings
from inhouse.gateway.policy import Surroundings

from .doubles import Clock
from .test_cache import Model, call


class Away(Unavailable):
    """The embedding model does not answer."""


class Embedder:
    """Places a text on the circle by the number in it: one step is half a degree."""

    def __init__(self) -> None:
        self.is_away = False

    async def embed(self, workspace_id: str, model: str, texts: Sequence[str]) -> np.ndarray:
        if self.is_away:
            raise Away("gone")
        angles = np.radians([float(text.split()[-1]) / 2 for text in texts])
        return np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float32)


def cache(clock: Clock | None = None, embedder: Embedder | None = None, **more: Any) -> SemanticCache:
    policy = SemanticCache(Surroundings(clock=clock or Clock(), embedder=embedder or Embedder()))
    policy.configure(SemanticCacheSettings(enabled=True, model="embed", **more))
    return policy


async def test_a_similar_question_gets_the_same_answer() -> None:
    policy, model, similar = cache(threshold=0.99), Model(), call("about 8")
    await policy.around(call("about 0"), model)

    await policy.around(similar, model)

    assert model.asked == 1
    assert similar.cache == "semantic"
    assert similar.headers == [(b"x-cache", b"semantic; sim=1.00")]


async def test_another_question_is_asked() -> None:
    policy, model = cache(threshold=0.99), Model()
    await policy.around(call("about 0"), model)

    await policy.around(call("about 90"), model)

    assert model.asked == 2


async def test_everything_but_the_question_must_be_the_same() -> None:
    policy, model = cache(), Model()
    others: list[Call] = [call("1", key="k2"), call("1", version="2"), call("1", tools=[{"type": "function"}])]
    longer = call("1")
    longer.put("messages", [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "1"}])

    for one in (call("1"), *others, longer):
        await policy.around(one, model)

    assert model.asked == 5


async def test_of_many_the_most_similar_answers() -> None:
    policy = cache(threshold=0.9)
    for angle in range(0, 720, 60):
        await policy.around(call(str(angle)), Model())
    similar = call("121")

    await policy.around(similar, Model())

    assert similar.headers == [(b"x-cache", b"semantic; sim=1.00")]
    assert len(policy) == 12


async def test_entries_are_bounded_and_the_oldest_goes() -> None:
    policy, model = cache(max_entries=3, threshold=0.999), Model()
    for angle in (0, 60, 120, 180):
        await policy.around(call(str(angle)), model)

    for angle in (60, 120, 180):
        await policy.around(call(str(angle)), model)
    await policy.around(call("0"), model)

    assert len(policy) == 3
    assert model.asked == 5


async def test_answers_are_forgotten_in_time() -> None:
    clock = Clock()
    policy, model = cache(clock, ttl_s=10), Model()
    await policy.around(call("1"), model)
    clock.move(11)

    await policy.around(call("1"), model)

    assert model.asked == 2
    assert len(policy) == 1


async def test_a_question_that_cannot_be_compared_is_asked() -> None:
    embedder = Embedder()
    policy, model = cache(embedder=embedder), Model()
    await policy.around(call("1"), model)
    embedder.is_away = True
    picture = call()
    picture.put("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}])

    await policy.around(call("1"), model)
    await policy.around(picture, model)

    assert model.asked == 3
    assert policy.failed == 1


def test_it_is_off_until_it_is_wanted_and_possible() -> None:
    assert not SemanticCache(Surroundings(embedder=Embedder())).is_active
    assert not cache_without_embedder().is_active
    assert cache().is_active


def cache_without_embedder() -> SemanticCache:
    policy = SemanticCache(Surroundings())
    policy.configure(SemanticCacheSettings(enabled=True, model="embed"))
    return policy
