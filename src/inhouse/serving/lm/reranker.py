"""Rerankers in this process: how well documents answer a query, by a cross encoder with one score."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from transformers import AutoModelForSequenceClassification

from inhouse.core.errors import Invalid
from inhouse.serving.batcher import Batcher
from inhouse.serving.lm.checkpoint import Adapter
from inhouse.serving.lm.encoder import MAX_BATCH_TOKENS, MAX_QUEUE, NoAdapters, open_network, position_limit
from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import BadParameter
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.words import Words


class NotAReranker(Invalid):
    """The classifier has more than the one score that a reranker has."""


class _Pair(NamedTuple):
    ids: Sequence[int]
    segments: Sequence[int]


class RerankerModel:
    """A reranker in memory. Documents that are too long are read up to where the model's context ends."""

    state, error = "loaded", ""

    def __init__(self, plan: Plan) -> None:
        self.name = plan.name
        self._network = open_network(AutoModelForSequenceClassification, plan)
        scores = self._network.config.num_labels
        if scores != 1:
            raise NotAReranker(
                f"{plan.checkpoint.directory.name!r} gives {scores} scores, a reranker gives one.",
                hint="Is it a classifier? Those are registered as models.",
            )
        directory = plan.checkpoint.directory
        self._words = Words(directory, limit=position_limit(directory, plan.checkpoint))
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"inhouse-reranker-{plan.name}")
        self._batcher: Batcher[_Pair, float] | None = None

    def model(self, adapter: str = "") -> "RerankerModel":
        return self

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        raise NoAdapters("A reranker takes no adapters.")

    def remove_adapter(self, name: str) -> None:
        """There is none."""

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Each document's relevance between 0 and 1, in the order given."""
        if not documents:
            raise BadParameter("documents", "There is no document to rank.")
        pairs = await asyncio.to_thread(self._read, query, documents)
        return await self._queue().submit(pairs), sum(len(pair.ids) for pair in pairs)

    def _read(self, query: str, documents: Sequence[str]) -> list[_Pair]:
        [ids] = self._words.read([query])
        if len(ids) > self._words.limit // 2:
            raise ContextLengthExceeded(len(ids), self._words.limit // 2, param="query")
        return [_Pair(*self._words.pair(query, document)) for document in documents]

    def _queue(self) -> Batcher[_Pair, float]:
        if self._batcher is None:
            self._batcher = Batcher(
                self._run,
                executor=self._executor,
                turns=asyncio.Semaphore(1),
                length=lambda pair: len(pair.ids),
                max_tokens=MAX_BATCH_TOKENS,
                max_queue=MAX_QUEUE,
            )
        return self._batcher

    @torch.inference_mode()
    def _run(self, batch: Sequence[_Pair]) -> list[float]:
        ids, segments = [pair.ids for pair in batch], [pair.segments for pair in batch]
        inputs = self._words.tensors(ids, self._network.device, segments)
        return torch.sigmoid(self._network(**inputs).logits.float()[:, 0]).tolist()
