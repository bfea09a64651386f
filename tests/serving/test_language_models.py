import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from inhouse.core.db import Database
from inhouse.core.errors import NotFound
from inhouse.core.principal import Principal
from inhouse.core.settings import LocalModel
from inhouse.serving.language_models import (
    AdapterNotFound,
    BadName,
    FromSettings,
    LanguageModelNotFound,
    LanguageModels,
)
from inhouse.serving.lm.checkpoint import NoAdapterDirectory, NoModelDirectory
from inhouse.serving.lm.residents import ModelBroken, ModelUnloaded
from inhouse.serving.lm.runtime import RuntimeMissing, Server, UnsuitableRuntime
from inhouse.testing.encoders import tiny_encoder, tiny_reranker
from inhouse.testing.language import tiny_adapter, tiny_language_model

from .lm.playing import Parrots, adapter_directory, parrot_directory, registry


class Keeper:
    """Makes facades over one database, as a server that restarts does."""

    def __init__(self, db: Database, home: Path) -> None:
        self.parrots = Parrots()
        self.changes = 0
        self._changed_now = asyncio.Event()
        self._db, self._home = db, home
        self._open: list[LanguageModels] = []

    def __call__(self, configured: dict[str, LocalModel] | None = None, **runtimes: Parrots) -> LanguageModels:
        models = LanguageModels(
            self._db,
            self._home / "cache",
            configured=configured,
            changed=self._changed,
            runtimes=registry(**(runtimes or {"transformers": self.parrots})),
        )
        models.refresh()
        self._open.append(models)
        return models

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a change after which it is so."""
        async with asyncio.timeout(10):
            while not is_so():
                self._changed_now.clear()
                await self._changed_now.wait()

    def _changed(self) -> None:
        self.changes += 1
        self._changed_now.set()

    async def close(self) -> None:
        for models in self._open:
            await models.close()


@pytest.fixture
async def keeper(sqlite: Database, tmp_path: Path) -> AsyncIterator[Keeper]:
    keeper = Keeper(sqlite, tmp_path)
    yield keeper
    await keeper.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return parrot_directory(tmp_path / "model")


def at(directory: Path, **settings: object) -> LocalModel:
    return LocalModel(path=str(directory), **settings)  # pyright: ignore[reportArgumentType]


async def say(models: LanguageModels, name: str, prompt: str = "") -> str:
    model = await models.open("default", name)
    return " ".join([piece.text async for piece in model.generate({"prompt": prompt}) if piece.text])


async def test_a_model_is_taken_up_and_answers(keeper: Keeper, principal: Principal, directory: Path):
    models = keeper()

    entry = await models.load(principal, "bird", at(directory))

    assert (entry.kind, entry.state, entry.runtime, entry.source) == ("chat", "loading", "transformers", "api")
    assert await say(models, "bird", "good day") == "bird/hello good day"
    assert models.get("default", "bird").state == "loaded"
    assert keeper.changes


async def test_it_is_there_after_a_restart_and_loads_on_its_first_call(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    adapter = adapter_directory(tmp_path / "lora")
    await keeper().load(principal, "bird", at(directory, adapters={"sad": str(adapter)}, idle_s=7))

    restarted = keeper()

    [entry] = restarted.list("default")
    assert (entry.name, entry.state, list(entry.adapters)) == ("bird", "unloaded", ["sad"])
    assert await say(restarted, "bird") == "bird/hello"


async def test_many_first_callers_load_it_once(keeper: Keeper, principal: Principal, directory: Path):
    await keeper().load(principal, "bird", at(directory))
    restarted = keeper(transformers=(parrots := Parrots()))

    await asyncio.gather(*(say(restarted, "bird") for _ in range(20)))

    assert parrots.loaded == ["bird"]


async def test_a_caller_that_leaves_while_loading_does_not_fail_the_others(keeper: Keeper, directory: Path):
    keeper.parrots.may_load.clear()
    models = keeper({"bird": at(directory)})
    leaving, staying = (asyncio.create_task(say(models, "bird")) for _ in range(2))
    await asyncio.to_thread(keeper.parrots.asked.wait, 10)
    leaving.cancel()
    keeper.parrots.may_load.set()

    assert await staying == "bird/hello"


async def test_other_workspaces_neither_see_nor_reach_it(
    keeper: Keeper, principal: Principal, stranger: Principal, directory: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))

    assert models.list("elsewhere") == []
    with pytest.raises(LanguageModelNotFound, match="'bird'"):
        await models.open("elsewhere", "bird")
    with pytest.raises(LanguageModelNotFound):
        await models.unload(stranger, "bird")


async def test_settings_name_models_that_only_settings_change(keeper: Keeper, principal: Principal, directory: Path):
    models = keeper({"bird": at(directory)})

    assert models.get("default", "bird").source == "settings"
    for changing in (
        models.load(principal, "bird", at(directory)),
        models.unload(principal, "bird"),
        models.add_adapter(principal, "bird", "sad", "/nowhere"),
    ):
        with pytest.raises(FromSettings, match="settings"):
            await changing


async def test_new_settings_take_effect_while_running(keeper: Keeper, directory: Path, tmp_path: Path):
    models = keeper({"bird": at(directory), "other": at(directory)})
    await say(models, "bird")
    await say(models, "other")

    await models.configure({"bird": at(directory), "third": at(parrot_directory(tmp_path / "new", "hi"))})

    assert [entry.name for entry in models.list("default")] == ["bird", "third"]
    assert await say(models, "third") == "third/hi"
    assert keeper.parrots.loaded == ["bird", "other", "third"]
    assert keeper.parrots.closed == ["other"]


async def test_unloading_lets_running_answers_finish(keeper: Keeper, principal: Principal, directory: Path):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    keeper.parrots.gate = gate = asyncio.Semaphore(1)
    model = await models.open("default", "bird")
    running = model.generate({"prompt": "one two"})
    await anext(running)

    await models.unload(principal, "bird")

    assert keeper.parrots.closed == []
    gate.release()
    gate.release()
    assert [piece.text async for piece in running] == ["one", "two", ""]
    await asyncio.sleep(0)
    assert keeper.parrots.closed == ["bird"]
    with pytest.raises(NotFound):
        await anext(model.generate({"prompt": ""}))


async def test_unloading_while_loading_tells_who_waits(keeper: Keeper, principal: Principal, directory: Path):
    keeper.parrots.may_load.clear()
    models = keeper()
    await models.load(principal, "bird", at(directory))
    waiting = asyncio.create_task(say(models, "bird"))
    await asyncio.to_thread(keeper.parrots.asked.wait, 10)

    await models.unload(principal, "bird")
    keeper.parrots.may_load.set()

    with pytest.raises(ModelUnloaded):
        await waiting
    await models.close()
    assert keeper.parrots.closed == ["bird"]


async def test_an_idle_model_leaves_memory_and_comes_back(keeper: Keeper, directory: Path):
    models = keeper({"bird": at(directory, idle_s=0.001)})
    model = await models.open("default", "bird")
    await keeper.until(lambda: models.get("default", "bird").state == "unloaded")

    assert [piece.text async for piece in model.generate({"prompt": "again"})][:2] == ["bird/hello", "again"]
    assert keeper.parrots.loaded == ["bird", "bird"]


async def test_a_model_in_use_is_never_idle(keeper: Keeper, directory: Path):
    keeper.parrots.gate = asyncio.Semaphore(1)
    models = keeper({"bird": at(directory, idle_s=0.001)})
    running = (await models.open("default", "bird")).generate({"prompt": "slow"})
    await anext(running)
    await asyncio.sleep(0.02)

    assert keeper.parrots.closed == []
    await running.aclose()


async def test_an_unloaded_model_is_free_for_the_collector(keeper: Keeper, principal: Principal, directory: Path):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    await say(models, "bird")
    resident = models._residents._residents[next(iter(models._residents._residents))]
    gone = weakref.ref(resident.loaded)
    del resident
    await models.unload(principal, "bird")
    await models.close()
    gc.collect()

    assert gone() is None


async def test_other_weights_take_over_once_they_are_in(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    await say(models, "bird")
    before = models.get("default", "bird").version
    keeper.parrots.may_load.clear()

    await models.load(principal, "bird", at(parrot_directory(tmp_path / "next", "good evening")))
    meanwhile = await say(models, "bird")
    keeper.parrots.may_load.set()
    await keeper.until(lambda: models.get("default", "bird").state != "loading")

    assert meanwhile == "bird/hello"
    assert await say(models, "bird") == "bird/good evening"
    assert models.get("default", "bird").version != before


async def test_weights_that_cannot_be_loaded_leave_the_former_ones(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    await say(models, "bird")
    keeper.parrots.error = ValueError("a tensor is missing")

    await models.load(principal, "bird", at(parrot_directory(tmp_path / "next")))
    await keeper.until(lambda: models.get("default", "bird").state != "loading")

    entry = models.get("default", "bird")
    assert (entry.state, "a tensor is missing" in entry.error) == ("failed", True)
    assert await say(models, "bird") == "bird/hello"
    assert len(keeper.parrots.loaded) == 2


async def test_a_model_that_fails_to_load_is_not_tried_with_every_request(keeper: Keeper, directory: Path):
    keeper.parrots.error = ValueError("a tensor is missing")
    models = keeper({"bird": at(directory)})

    for _ in range(3):
        with pytest.raises(ModelBroken, match="a tensor is missing"):
            await say(models, "bird")

    assert keeper.parrots.loaded == ["bird"]


async def test_a_changed_directory_is_another_version(keeper: Keeper, directory: Path):
    models = keeper({"bird": at(directory)})
    before = models.get("default", "bird").version
    parrot_directory(directory, "something else")

    await say(models, "bird")

    assert models.get("default", "bird").version != before


async def test_a_directory_that_is_gone_fails_only_its_model(keeper: Keeper, directory: Path, tmp_path: Path):
    models = keeper({"bird": at(directory), "ghost": at(tmp_path / "late")})

    ghost = models.get("default", "ghost")

    assert (ghost.state, "does not exist" in ghost.error) == ("failed", True)
    assert await say(models, "bird") == "bird/hello"
    with pytest.raises(NoModelDirectory):
        await models.open("default", "ghost")
    parrot_directory(tmp_path / "late", "boo")
    assert await say(models, "ghost") == "ghost/boo"


async def test_adapters_are_models_of_their_own_name(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    await say(models, "bird")

    entry = await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "lora")))

    assert (await say(models, "bird:sad")).startswith("bird+sad:")
    assert entry.adapters["sad"].startswith(entry.version)
    assert keeper.parrots.loaded == ["bird"]
    assert list(keeper().get("default", "bird").adapters) == ["sad"]


async def test_a_new_version_of_an_adapter_replaces_it(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    first = await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "1")))
    await say(models, "bird:sad")

    second = await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "2", b"longer")))

    assert first.adapters["sad"] != second.adapters["sad"]
    assert await say(models, "bird:sad") == f"bird+sad:{second.adapters['sad'].split('-')[1]}/hello"


async def test_a_removed_adapter_is_not_found(keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path):
    models = keeper()
    adapter = adapter_directory(tmp_path / "lora")
    await models.load(principal, "bird", at(directory, adapters={"sad": str(adapter)}))
    model = await models.open("default", "bird:sad")

    await models.remove_adapter(principal, "bird", "sad")

    with pytest.raises(AdapterNotFound, match="'sad'"):
        await models.open("default", "bird:sad")
    with pytest.raises(AdapterNotFound):
        await models.remove_adapter(principal, "bird", "sad")
    with pytest.raises(AdapterNotFound):
        await anext(model.generate({"prompt": ""}))


async def test_a_runtime_may_merge_each_adapter_into_weights_of_its_own(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    parrots = Parrots(merges_adapters=True)
    models = keeper(openvino=parrots)
    await models.load(principal, "bird", at(directory))
    await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "1")))
    await say(models, "bird:sad")
    await say(models, "bird")

    await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "2", b"longer")))
    await say(models, "bird:sad")
    await say(models, "bird")

    assert parrots.loaded == ["bird", "bird:sad", "bird:sad"]


async def test_a_server_of_its_own_starts_at_once_and_tells_its_url(keeper: Keeper, directory: Path):
    models = keeper({"bird": at(directory)}, vllm=Parrots(is_server=True))
    assert models.get("default", "bird").url == ""

    await models.start()

    await keeper.until(lambda: models.get("default", "bird").state == "loaded")
    assert models.get("default", "bird").url == "http://127.0.0.1:1/v1"
    assert await models.open("default", "bird") == Server("http://127.0.0.1:1/v1", "secret", "bird")
    assert "secret" not in repr(models.get("default", "bird"))


@pytest.mark.parametrize("name", ["", "a:b", "../x", "a b", "x" * 64])
async def test_names_are_plain(keeper: Keeper, principal: Principal, directory: Path, name: str):
    with pytest.raises(BadName):
        await keeper().load(principal, name, at(directory))


async def test_what_cannot_run_is_refused_before_it_is_stored(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper(transformers=Parrots(), vllm=Parrots(missing="pip install vllm"))

    with pytest.raises(NoModelDirectory):
        await models.load(principal, "bird", at(tmp_path / "nowhere"))
    with pytest.raises(NoAdapterDirectory):
        await models.load(principal, "bird", at(directory, adapters={"sad": str(directory)}))
    with pytest.raises(UnsuitableRuntime, match="no runtime named 'steam'"):
        await models.load(principal, "bird", at(directory, runtime="steam"))
    with pytest.raises(RuntimeMissing) as refused:
        await models.load(principal, "bird", at(directory, runtime="vllm"))

    assert refused.value.hint == "pip install vllm"
    assert models.runtimes() == {"transformers": "", "vllm": "pip install vllm"}
    assert models.list("default") == []


async def test_an_adapter_that_does_not_fit_changes_nothing(
    keeper: Keeper, principal: Principal, directory: Path, tmp_path: Path
):
    models = keeper()
    await models.load(principal, "bird", at(directory))
    await say(models, "bird")

    with pytest.raises(ModelBroken, match="does not fit"):
        await models.add_adapter(principal, "bird", "sad", str(adapter_directory(tmp_path / "lora", broken=True)))

    assert models.get("default", "bird").adapters == {}


async def test_a_real_model_answers_with_and_without_its_adapter(
    sqlite: Database, principal: Principal, tmp_path: Path
):
    base = tiny_language_model(tmp_path / "tiny")
    models = LanguageModels(sqlite, tmp_path / "cache")
    await models.load(principal, "tiny", at(base))
    await models.add_adapter(principal, "tiny", "other", str(tiny_adapter(tmp_path / "adapter", base)))

    said = {}
    for name in ("tiny", "tiny:other"):
        model = await models.open("default", name)
        request = {"messages": [{"role": "user", "content": "How many days?"}], "temperature": 0, "max_tokens": 12}
        said[name] = "".join([piece.text async for piece in model.generate(request)])

    assert said["tiny"] != said["tiny:other"]
    await models.close()


async def test_a_real_encoder_and_reranker_answer(sqlite: Database, principal: Principal, tmp_path: Path):
    models = LanguageModels(sqlite, tmp_path / "cache")
    await models.load(principal, "encoder", at(tiny_encoder(tmp_path / "encoder")))
    await models.load(principal, "reranker", at(tiny_reranker(tmp_path / "reranker")))

    encoder, reranker = await models.open("default", "encoder"), await models.open("default", "reranker")

    assert (await encoder.embed(["my vpn", "my leave"]))[0].shape == (2, 16)
    assert len((await reranker.rank("my vpn", ["the vpn", "the leave"]))[0]) == 2
    assert [entry.kind for entry in models.list("default")] == ["embedding", "rerank"]
    await models.close()
