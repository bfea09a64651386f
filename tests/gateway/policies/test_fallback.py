from collections.abc import Awaitable, Callable

import pytest

from inhouse.core.errors import InhouseError, Invalid, NotFound
from inhouse.core.principal import Principal
from inhouse.gateway.call import Call, Reply
from inhouse.gateway.policies.fallback import Fallback, FallbackSettings
from inhouse.gateway.policies.keys import Keys
from inhouse.gateway.policies.retry import TRIED
from inhouse.gateway.policy import Surroundings
from inhouse.gateway.route import Route

from .doubles import Blocks, Busy, Down, Slow, answer, call, route, targets

TOO_LONG = Invalid("too long", upstream_code="context_length_exceeded")
FILTERED = Invalid("not nice", upstream_code="content_filter")
OWN_TOO_LONG = Invalid("too long", code="context_length_exceeded")


class Models:
    """Models by name, what each of them answers, and in which order they were asked."""

    def __init__(self, **fallbacks: str) -> None:
        self.says: dict[str, Reply | InhouseError] = {}
        self.asked: list[str] = []
        self._routes = {
            name: route(*targets(name), name=name, fallbacks=tuple(others.split()))
            for name, others in fallbacks.items()
        }

    def find(self, name: str) -> Route | None:
        return self._routes.get(name)

    def call(self, name: str) -> Call:
        return call(self._routes[name])

    def proceed(self) -> Callable[[Call], Awaitable[Reply]]:
        async def ask(asked: Call) -> Reply:
            name = asked.route.name
            self.asked.append(name)
            asked.target = asked.route.targets[0]
            said = self.says.get(name) or answer(f"I am {name}.")
            if isinstance(said, InhouseError):
                raise said
            return said

        return ask


@pytest.fixture
def models() -> Models:
    return Models(a="b c", b="d", c="", d="a", long="", lonely="")


@pytest.fixture
def fallback(models: Models) -> Fallback:
    return Fallback(Surroundings(find=models.find))


@pytest.mark.parametrize("error", [Down("no"), Slow("no"), Busy("no"), TOO_LONG, OWN_TOO_LONG])
async def test_another_model_steps_in_and_says_so(fallback: Fallback, models: Models, error: InhouseError):
    models.says["a"] = error

    reply = await fallback.around(asked := models.call("a"), models.proceed())

    assert b"I am b." in reply.body
    assert asked.headers == [(b"x-model-fallback", b"b")]
    assert asked.route.name == "b"


async def test_a_model_that_answers_needs_nobody(fallback: Fallback, models: Models):
    await fallback.around(asked := models.call("a"), models.proceed())

    assert models.asked == ["a"]
    assert asked.headers == []


@pytest.mark.parametrize("error", [Invalid("no"), NotFound("no"), FILTERED])
async def test_what_others_would_refuse_too_is_not_passed_on(fallback: Fallback, models: Models, error: InhouseError):
    models.says["a"] = error

    with pytest.raises(type(error)):
        await fallback.around(models.call("a"), models.proceed())

    assert models.asked == ["a"]


async def test_they_are_asked_in_order_each_once_also_in_a_circle(fallback: Fallback, models: Models):
    models.says |= dict.fromkeys("abcd", Down("no"))

    with pytest.raises(Down):
        await fallback.around(models.call("a"), models.proceed())

    assert models.asked == ["a", "b", "c", "d"]


async def test_no_more_are_asked_than_allowed(fallback: Fallback, models: Models):
    fallback.configure(FallbackSettings(max_models=1))
    models.says |= dict.fromkeys("abcd", Down("no"))

    with pytest.raises(Down):
        await fallback.around(models.call("a"), models.proceed())

    assert models.asked == ["a", "b"]


async def test_the_client_sees_the_error_of_its_own_model(fallback: Fallback, models: Models):
    models.says |= {"a": Busy("a is busy", retry_after_s=3.0), "b": Invalid("b cannot"), "c": Down("c is away")}

    with pytest.raises(Busy, match="a is busy"):
        await fallback.around(asked := models.call("a"), models.proceed())

    assert asked.route.name == "a"
    assert asked.target is asked.route.targets[0]


@pytest.mark.parametrize(
    ("setting", "error"), [("unavailable", Down("no")), ("context_length", TOO_LONG), ("content_filter", FILTERED)]
)
@pytest.mark.parametrize("name", ["lonely", "*"])
async def test_settings_name_who_steps_in(
    fallback: Fallback, models: Models, setting: str, error: InhouseError, name: str
):
    fallback.configure(FallbackSettings.model_validate({setting: {name: ["long"]}}))
    models.says["lonely"] = error

    await fallback.around(models.call("lonely"), models.proceed())

    assert models.asked == ["lonely", "long"]


async def test_a_model_for_long_texts_comes_before_the_general_ones(fallback: Fallback, models: Models):
    fallback.configure(FallbackSettings(context_length={"a": ["long"]}))
    models.says["a"] = TOO_LONG

    await fallback.around(models.call("a"), models.proceed())

    assert models.asked == ["a", "long"]


async def test_a_model_that_is_gone_is_passed_over(fallback: Fallback, models: Models):
    fallback.configure(FallbackSettings(unavailable={"lonely": ["gone", "long"]}))
    models.says["lonely"] = Down("no")

    await fallback.around(models.call("lonely"), models.proceed())

    assert models.asked == ["lonely", "long"]


async def test_a_key_gets_no_model_that_it_may_not_use(models: Models):
    surroundings = Surroundings(find=models.find)
    Keys(surroundings)
    fallback = Fallback(surroundings)
    models.says["a"] = Down("no")
    asked = models.call("a")
    asked.principal = Principal("default", "user_ann", frozenset(), models=("a", "c*"))

    await fallback.around(asked, models.proceed())

    assert models.asked == ["a", "c"]


async def test_the_other_model_starts_afresh(fallback: Fallback, models: Models):
    models.says["a"] = Down("no")
    asked = models.call("a")
    asked.notes[TRIED] = list(asked.route.targets)

    await fallback.around(asked, models.proceed())

    assert TRIED not in asked.notes


async def test_a_stream_that_has_begun_is_not_replaced(fallback: Fallback, models: Models):
    models.says["a"] = Reply(events=Blocks(b"data: {}\n\n", Down("gone")))

    reply = await fallback.around(models.call("a"), models.proceed())

    assert reply.events is not None
    await reply.events.part()
    with pytest.raises(Down):
        await reply.events.part()
    assert models.asked == ["a"]


async def test_a_model_that_is_left_alone_is_not_waited_for(models: Models):
    fallback = Fallback(Surroundings(find=models.find, is_out=lambda route: route.name == "a"))

    reply = await fallback.around(models.call("a"), models.proceed())

    assert b"I am b." in reply.body
    assert models.asked == ["b"]


async def test_a_model_that_is_left_alone_is_the_last_resort(models: Models):
    fallback = Fallback(Surroundings(find=models.find, is_out=lambda route: route.name == "a"))
    models.says |= dict.fromkeys("bcd", Down("no"))

    reply = await fallback.around(asked := models.call("a"), models.proceed())

    assert b"I am a." in reply.body
    assert models.asked == ["b", "c", "d", "a"]
    assert asked.headers == []
