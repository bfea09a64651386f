"""Encoders in this process: texts to vectors of length one, by the transformers library.

Understands directories of sentence-transformers (pooling, length) as well as plain ones.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from inhouse.core.errors import Invalid
from inhouse.models.language.pooling import read_pooling
from inhouse.models.language.vocabulary import read_json
from inhouse.serving.batcher import Batcher
from inhouse.serving.lm.checkpoint import Adapter, Checkpoint
from inhouse.serving.lm.piece import ContextLengthExceeded
from inhouse.serving.lm.request import BadParameter
from inhouse.serving.lm.runtime import Plan
from inhouse.serving.lm.words import Words

MAX_QUEUE = 2048
MAX_BATCH_TOKENS = 16384
Ids = Sequence[int]


class NoAdapters(Invalid):
    """Adapters are for chat models."""


class EncoderModel:
    """An encoder in memory. Batches run on a thread of its own; texts of like length go together."""

    state, error = "loaded", ""

    def __init__(self, plan: Plan) -> None:
        directory = plan.checkpoint.directory
        self.name = plan.name
        self.pooling = read_pooling(directory)
        self._network = open_network(AutoModel, plan)
        self._words = Words(directory, limit=position_limit(directory, plan.checkpoint))
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"inhouse-encoder-{plan.name}")
        self._batcher: Batcher[Ids, np.ndarray] | None = None

    @property
    def dimensions(self) -> int:
        return self._network.config.get_text_config().hidden_size

    def model(self, adapter: str = "") -> "EncoderModel":
        return self

    def add_adapter(self, name: str, adapter: Adapter) -> None:
        raise NoAdapters("An encoder takes no adapters.")

    def remove_adapter(self, name: str) -> None:
        """There is none."""

    async def close(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    async def embed(
        self, texts: Sequence[str] | Sequence[Ids], *, dimensions: int | None = None
    ) -> tuple[np.ndarray, int]:
        """One row of length one for each text. With `dimensions`, the first so many, brought to length one again."""
        if dimensions is not None and not 1 <= dimensions <= self.dimensions:
            raise BadParameter("dimensions", f"This model has {self.dimensions} dimensions, not {dimensions}.")
        if not texts:
            raise BadParameter("input", "There is nothing to embed.")
        ids = await asyncio.to_thread(self._read, texts)
        rows = np.stack(await self._queue().submit(ids))[:, :dimensions]
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), sum(map(len, ids))

    def _read(self, texts: Sequence[str] | Sequence[Ids]) -> list[Ids]:
        ids = self._words.read(texts)
        longest = max(map(len, ids))
        if longest > self._words.limit:
            raise ContextLengthExceeded(longest, self._words.limit, param="input")
        return ids

    def _queue(self) -> Batcher[Ids, np.ndarray]:
        if self._batcher is None:  # made where it is used: in the event loop
            self._batcher = Batcher(
                self._run,
                executor=self._executor,
                turns=asyncio.Semaphore(1),
                length=len,
                max_tokens=MAX_BATCH_TOKENS,
                max_queue=MAX_QUEUE,
            )
        return self._batcher

    @torch.inference_mode()
    def _run(self, batch: Sequence[Ids]) -> list[np.ndarray]:
        inputs = self._words.tensors(batch, self._network.device)
        states = self._network(**inputs).last_hidden_state.float()
        return list(_pool(states, inputs["attention_mask"], self.pooling).cpu().numpy())


def open_network(kind: Any, plan: Plan) -> Any:
    """Load a network from safetensors, running no code of its directory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = plan.dtype if plan.dtype != "auto" else "bfloat16" if device == "cuda" else "float32"
    network = kind.from_pretrained(
        plan.checkpoint.directory,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        dtype=getattr(torch, dtype),
    )
    return network.eval().requires_grad_(False).to(device)


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    kept = mask.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1).clamp(min=1)


def position_limit(directory: Path, checkpoint: Checkpoint) -> int:
    """The longest text that it was made for."""
    said = (
        read_json(directory / "sentence_bert_config.json").get("max_seq_length"),
        read_json(directory / "tokenizer_config.json").get("model_max_length"),
        checkpoint.config.get("max_position_embeddings"),
    )
    return min((int(limit) for limit in said if isinstance(limit, int | float) and 0 < limit < 1 << 24), default=512)
