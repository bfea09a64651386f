"""What the `rerank` recipe gives the loop: encoded pairs, a network, and its evaluation and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from inhouse.core.ids import now
from inhouse.models.spans import pad_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.evaluate import fit_temperature
from inhouse.training.export import write_artifact
from inhouse.training.networks.network import Network, outputs_of
from inhouse.training.networks.pair_scorer import cool
from inhouse.training.pairs import Pair, PairReport, best_threshold, evaluate_pairs, has_negatives, pairs_of, with_drawn
from inhouse.training.task import Batch, Emit, Judged, Plan, Task

if TYPE_CHECKING:
    from inhouse.training.recipes.rerank import Rerank


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One pair as token numbers, with the text that each belongs to."""

    id: str
    tokens: list[int]
    segments: list[int]
    score: float
    weight: float

    def __len__(self) -> int:
        return len(self.tokens)


class Ranking(Task[EncodedPair]):
    """Learns whether two texts belong together."""

    def __init__(self, recipe: Rerank, plan: Plan, splits: Splits, network: Network, tokenizer: Tokenizer) -> None:
        self.plan = plan
        self.module = self._network = network
        self._recipe = recipe
        self._tokenizer = tokenizer
        self._draws = not has_negatives(pairs_of(splits.train))
        self._dev = self._pairs(splits.dev)
        self._held_out = self._pairs(splits.test) or self._dev
        self._samples = [(row.text, row.content["other"]) for row in splits.dev or splits.train]
        self.train = self._encode(self._pairs(splits.train))
        self.dev = self._encode(self._dev)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self._network.parameter_groups(self.plan)

    def collate(self, items: Sequence[EncodedPair]) -> Batch:
        longest = max(map(len, items))
        pad = pad_of(self._tokenizer)
        return {
            "input_ids": torch.tensor([item.tokens + [pad] * (longest - len(item)) for item in items]),
            "attention_mask": torch.tensor([[1] * len(item) + [0] * (longest - len(item)) for item in items]),
            "token_type_ids": torch.tensor([item.segments + [0] * (longest - len(item)) for item in items]),
            "score": torch.tensor([item.score for item in items]),
            "weight": torch.tensor([item.weight for item in items]),
        }

    def loss(self, batch: Batch) -> Tensor:
        losses = F.binary_cross_entropy_with_logits(self._logits(batch), batch["score"], reduction="none")
        return (losses * batch["weight"]).mean()

    def judge(self, batch: Batch) -> Judged:
        logits = self._logits(batch)
        loss = F.binary_cross_entropy_with_logits(logits, batch["score"], reduction="sum")
        return Judged(loss.item(), int(((logits >= 0) == (batch["score"] >= 0.5)).sum()), len(logits))

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        self._network.cpu()
        threshold = self._calibrate()
        report = self._evaluate(threshold)
        metrics = report.metrics() if report else {}
        emit("evaluated", metrics=metrics)
        truncation = self._tokenizer.truncation
        assert truncation is not None
        manifest = {
            "kind": "rerank",
            "created_at": now(),
            "labels": [],
            "signature": {"inputs": {"text": "string", "other": "string"}, "outputs": {"score": "number"}},
            "max_length": truncation["max_length"],
            "temperature": 1.0,
            "unknown_threshold": 0.0,
            "settings": {"inputs": list(self._network.inputs), "threshold": threshold},
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        write_artifact(directory, self._network, self._tokenizer, manifest, samples=self._samples)
        emit("exported")
        return metrics

    def _calibrate(self) -> float:
        """Make the scores honest on the dev split; return the score from which on a pair counts as a match."""
        truth = np.array([pair.matches for pair in self._dev])
        if not 0 < truth.sum() < len(truth):
            return 0.5
        logits = self._predict(self._dev)
        cool(self._network, fit_temperature(np.stack([np.zeros_like(logits), logits], axis=1), truth.astype(int)))
        return best_threshold(self._chances(self._dev), truth.tolist())

    def _evaluate(self, threshold: float) -> PairReport | None:
        """Judge on the test split; on dev where no row was held out for testing; where there is neither, not at all."""
        if not self._held_out:
            return None
        return evaluate_pairs(lambda _: self._chances(self._held_out), self._held_out, threshold=threshold)

    def _chances(self, pairs: Sequence[Pair]) -> list[float]:
        return (1 / (1 + np.exp(-self._predict(pairs)))).tolist()

    def _predict(self, pairs: Sequence[Pair]) -> np.ndarray:
        texts = [(pair.text, pair.other) for pair in pairs]
        return outputs_of(self._network, self._tokenizer, texts).squeeze(1).double().numpy()

    def _logits(self, batch: Batch) -> Tensor:
        return self._network(*(batch[name] for name in self._network.inputs)).squeeze(1).float()

    def _pairs(self, rows: Sequence[Row]) -> list[Pair]:
        pairs = pairs_of(rows)
        return with_drawn(pairs, self._recipe.negatives, seed=self.plan.seed) if self._draws else pairs

    def _encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        weight = self._recipe.correction_weight
        items = []
        for pair in pairs:
            one = self._tokenizer.encode(pair.text, pair.other)  # one by one: a batch would be padded
            items.append(EncodedPair(pair.id, one.ids, one.type_ids, pair.score, weight if pair.is_correction else 1.0))
        return items
