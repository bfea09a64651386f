"""Language models by the transformers library: any architecture it knows, in this process, with many adapters."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from inhouse.core.errors import NotFound
from inhouse.models.language.vocabulary import Vocabulary
from inhouse.serving.lm.answer import Choice
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint, Kind
from inhouse.serving.lm.habits import end_tokens, recommended
from inhouse.serving.lm.piece import ContextLengthExceeded, Piece
from inhouse.serving.lm.prompt import Prompter
from inhouse.serving.lm.request import BadParameter, Request, parse
from inhouse.serving.lm.runtime import Loaded, Plan, language_runtimes
from inhouse.serving.lm.scheduler import Job, Scheduler
from inhouse.serving.lm.sections import sections_for

if TYPE_CHECKING:
    from inhouse.serving.lm.adapters import Adapters
    from inhouse.serving.lm.constrain import Constraint, Constraints
    from inhouse.serving.lm.engine import Forward, Stats, Ticket

WAITING = 128
"""How many requests may wait for one model before the next is refused."""


class AdapterUnknown(NotFound):
    """The model has no adapter of that name."""


class TransformersRuntime:
    """Runs causal language models, encoders and rerankers as the transformers library defines them."""

    merges_adapters = False
    is_server = False

    def missing(self) -> str:
        return ""

    def serves(self, checkpoint: Checkpoint, kind: Kind) -> bool:
        return not checkpoint.config.get("is_encoder_decoder")

    def load(self, plan: Plan) -> Loaded:
        if plan.kind is Kind.EMBEDDING:
            from inhouse.serving.lm.encoder import EncoderModel

            return EncoderModel(plan)
        if plan.kind is Kind.RERANK:
            from inhouse.serving.lm.reranker import RerankerModel

            return RerankerModel(plan)
        from inhouse.serving.lm.adapters import Adapters
        from inhouse.serving.lm.network import load

        network = load(plan.checkpoint.directory, dtype=plan.dtype)
        loaded = TransformersLoaded(plan, network, Adapters(network.model))
        for name, adapter in plan.adapters.items():
            loaded.add_adapter(name, adapter)
        return loaded


class TransformersLoaded:
    """A model in memory with its engine, and the adapters at hand."""

    def __init__(
        self,
        plan: Plan,
        network: "Forward",
        adapters: "Adapters | None" = None,
        *,
        waiting: int = WAITING,
        threads: int = 0,
    ) -> None:
        from inhouse.serving.lm.engine import Engine

        directory = plan.checkpoint.directory
        self.name = plan.name
        self.context_length = min(network.context_length, plan.kv_tokens)
        self.vocabulary = Vocabulary(directory)
        self.prompter = Prompter(directory, self.vocabulary, context_length=self.context_length)
        self.defaults = recommended(directory)
        self.ends = end_tokens(directory, self.vocabulary, plan.checkpoint.config)
        self._scores = network.scores
        self._adapters = adapters
        self._names: set[str] = set()
        self._constraints: Constraints | None = None
        self._preparing = threading.Lock()
        scheduler = Scheduler(rows=plan.max_batch, tokens=plan.kv_tokens, waiting=waiting, **_pace(network))
        self.scheduler = scheduler
        self.engine = Engine(network, scheduler, ends=self.ends, threads=threads, name=plan.name)

    @property
    def state(self) -> str:
        return "loaded" if self.engine.is_alive else "failed"

    @property
    def error(self) -> str:
        return "" if self.engine.is_alive else "The engine has stopped."

    def model(self, adapter: str = "") -> "TransformersModel":
        if adapter and adapter not in self._names:
            raise AdapterUnknown(f"{self.name!r} has no adapter {adapter!r}.")
        return TransformersModel(self, adapter)

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        adapters = self._adapters
        if adapters is None:
            raise AdapterUnknown(f"{self.name!r} takes no adapters while it runs.")
        self.engine.run(lambda: adapters.add(name, adapter.directory))
        self._names.add(name)

    def remove_adapter(self, name: str) -> None:
        self._names.discard(name)
        if (adapters := self._adapters) is not None:
            self.engine.run(lambda: adapters.remove(name))

    async def close(self) -> None:
        await asyncio.to_thread(self.engine.close)

    def stats(self) -> "Stats":
        return self.engine.stats()

    def constraint(self, request: Request) -> "Constraint | None":
        """The grammar that the answer must follow, if any."""
        if request.schema is None and not request.forced:
            return None
        with self._preparing:
            if self._constraints is None:
                from inhouse.serving.lm.constrain import Constraints

                self._constraints = Constraints(self.vocabulary, scores=self._scores, ends=sorted(self.ends))
        if request.forced:
            return self._constraints.for_calls(request.tools, request.forced)
        return self._constraints.for_schema(request.schema, param="response_format")


class TransformersModel:
    """A loaded model, or one of its adapters, as requests see it."""

    def __init__(self, loaded: TransformersLoaded, adapter: str = "") -> None:
        self._loaded = loaded
        self._adapter = adapter
        self.name = f"{loaded.name}:{adapter}" if adapter else loaded.name
        self.context_length = loaded.context_length

    def count(self, texts: Sequence[str]) -> int:
        return sum(map(self._loaded.vocabulary.count, texts))

    async def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        from inhouse.serving.lm.engine import Channel

        channel = Channel()
        asked = parse(request, self._loaded.defaults)
        text, ticket = await asyncio.to_thread(self._ticket, asked, channel)
        self._loaded.engine.submit(ticket)
        try:
            if asked.echo:
                for index in range(asked.choices):
                    yield Piece(index=index, text=text)
            while True:
                piece = await channel.get()
                yield piece
                if piece.usage is not None:
                    return
        finally:
            self._loaded.engine.cancel(ticket)

    def _ticket(self, request: Request, channel: Any) -> "tuple[str, Ticket]":
        from inhouse.serving.lm.engine import Ticket

        loaded = self._loaded
        text = loaded.prompter.render(request)
        ids = loaded.prompter.encode(request, text)
        job = self._job(request, len(ids))
        choices = [
            Choice(loaded.vocabulary, sections_for(request, text), index=index, limit=job.limit, stops=request.stop)
            for index in range(request.choices)
        ]
        ticket = Ticket(
            job,
            ids,
            request.sampling,
            choices,
            channel,
            adapter=self._adapter,
            top_logprobs=request.top_logprobs,
            ignore_eos=request.ignore_eos and request.schema is None and not request.forced,
            constraint=loaded.constraint(request),
        )
        return text, ticket

    def _job(self, request: Request, prompt: int) -> Job:
        """What the request takes, refused where it could never get it."""
        scheduler = self._loaded.scheduler
        if request.choices > scheduler.rows:
            raise BadParameter("n", f"At most {scheduler.rows} choices are written at a time.")
        most = scheduler.tokens // request.choices
        limit = self._loaded.prompter.room(request, prompt)
        if request.max_tokens is None:
            limit = min(limit, most - prompt)
        if limit < 1 or prompt + limit > most:
            raise ContextLengthExceeded(prompt + max(limit, 1), most)
        return Job(prompt, limit, request.choices)


def _pace(network: "Forward") -> dict[str, int]:
    """How much is read in one step: an accelerator reads much more in the time of a token."""
    return {"chunk": 64, "long_chunk": 512} if network.device.type == "cpu" else {"chunk": 512, "long_chunk": 4096}


language_runtimes.add("transformers", TransformersRuntime())
