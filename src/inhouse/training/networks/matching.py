"""What the `embed` recipe gives the loop: texts that belong together, and the loss that brings them together."""

from __future__ import annotations

import math
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
from inhouse.data.examples import Form
from inhouse.training.batches import epoch_batches
from inhouse.training.dataset import Row, Splits
from inhouse.training.export import write_artifact
from inhouse.training.matches import (
    Groups,
    Match,
    Search,
    every_text,
    is_alike,
    mine,
    other_of,
    read_groups,
    read_matches,
    search,
)
from inhouse.training.networks.network import outputs_of
from inhouse.training.networks.text_encoder import PooledEncoder, TextEncoder
from inhouse.training.task import Batch, Emit, Judged, Plan, Task

if TYPE_CHECKING:
    from inhouse.training.recipes.embed import Embed

MAX_KNOWN = 5000
"""The evaluation looks among at most so many texts, and for as many."""

Vectors = dict[str, np.ndarray]
"""Text -> vector."""

_NEVER = -1e4
"""A likeness that counts for nothing, yet leaves gradients finite."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """A text, one that means the same, and some that don't, as token numbers; a group is what means the same."""

    id: str
    texts: list[list[int]]
    groups: list[int]

    def __len__(self) -> int:
        return max(map(len, self.texts))


class Matching(Task[Pairing]):
    """Learns vectors by which a text finds those that mean the same.

    Every text of a batch is told apart from all others in it, but for those that are known to mean the same. The others
    of a text and its hard negatives take turns, epoch by epoch.
    """

    divisible = False

    def __init__(
        self,
        recipe: Embed,
        plan: Plan,
        splits: Splits,
        network: TextEncoder | PooledEncoder,
        tokenizer: Tokenizer,
    ) -> None:
        self.plan = plan
        self.module = self._network = network
        self._recipe = recipe
        self._splits = splits
        self._tokenizer = tokenizer
        self._encoded: dict[str, list[int]] = {}
        groups = read_groups(splits.train, splits.form)
        kept: Vectors = {}
        matches = self._mined(read_matches(splits.train, splits.form, groups), groups, kept)
        turns = [self._turns(match, groups) for match in matches]
        self.train = [pairing for turn in turns for pairing in turn]
        self._starts = np.cumsum([0, *map(len, turns)])
        judged = read_groups(splits.dev, splits.form)
        self.dev = [self._turns(match, judged)[0] for match in read_matches(splits.dev, splits.form, judged)]
        self._before = self._search(splits.test or splits.dev, kept)

    def batches(self, epoch: int) -> list[list[int]]:
        rows = [start + epoch % (end - start) for start, end in zip(self._starts, self._starts[1:], strict=False)]
        lengths = [len(self.train[row]) for row in rows]
        order = epoch_batches(lengths, self.plan.batch_size, seed=self.plan.seed, epoch=epoch)
        return [[int(rows[index]) for index in batch] for batch in order]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return self._network.parameter_groups(self.plan)

    def collate(self, items: Sequence[Pairing]) -> Batch:
        texts = [tokens for item in items for tokens in item.texts]
        longest = max(map(len, texts))
        pad = (self._tokenizer.padding or {"pad_id": 0})["pad_id"]
        return {
            "input_ids": torch.tensor([tokens + [pad] * (longest - len(tokens)) for tokens in texts]),
            "attention_mask": torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in texts]),
            "group": torch.tensor([group for item in items for group in item.groups]),
        }

    def loss(self, batch: Batch) -> Tensor:
        losses, _, count = self._compare(batch)
        return losses / max(count, 1)

    def judge(self, batch: Batch) -> Judged:
        losses, right, count = self._compare(batch)
        return Judged(losses.item(), right, count)

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        self._network.cpu()
        kept: Vectors = {}
        found = self._search(self._splits.test or self._splits.dev, kept)
        tried = self._search(self._splits.dev, kept)
        metrics = _metrics(found, self._before)
        emit("evaluated", metrics=metrics)
        truncation = self._tokenizer.truncation
        assert truncation is not None
        manifest = {
            "kind": "embed",
            "created_at": now(),
            "labels": [],
            "signature": {"inputs": {"text": "string"}, "outputs": {"vector": "list"}},
            "max_length": truncation["max_length"],
            "unknown_threshold": tried.threshold() if tried else 0.0,
            "settings": {"dimensions": self._network.dimensions, "pooling": self._network.pooling},
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        samples = [row.text for row in self._splits.dev or self._splits.train]
        write_artifact(directory, self._network, self._tokenizer, manifest, samples=samples)
        emit("exported")
        return metrics

    def _compare(self, batch: Batch) -> tuple[Tensor, int, int]:
        """Return the loss summed over the texts that have a like in the batch, how many find it first, their number.

        A text's loss is the mean over its likes, each against all that is unlike: other likes are neither.
        Shapes: M texts, D dimensions.
        """
        vectors_MD = self._network(batch["input_ids"], batch["attention_mask"])
        with torch.autocast(vectors_MD.device.type, enabled=False):  # three digits are too few to divide by 0.05
            likeness_MM = vectors_MD @ vectors_MD.T / self._recipe.temperature
        same_MM = batch["group"].unsqueeze(0) == batch["group"].unsqueeze(1)
        itself_MM = torch.eye(len(same_MM), dtype=torch.bool, device=same_MM.device)
        like_MM = same_MM & ~itself_MM
        unlike_M1 = likeness_MM.masked_fill(same_MM, _NEVER).logsumexp(1, keepdim=True)
        likes_M = like_MM.sum(1)
        losses_M = (F.softplus(unlike_M1 - likeness_MM) * like_MM).sum(1) / likes_M.clamp(min=1)
        nearest_M1 = likeness_MM.masked_fill(itself_MM, _NEVER).argmax(1, keepdim=True)
        return losses_M.sum(), int(like_MM.gather(1, nearest_M1).sum()), int((likes_M > 0).sum())

    def _mined(self, matches: list[Match], groups: Groups, kept: Vectors) -> list[Match]:
        if not self._recipe.mined_negatives or not matches:
            return matches
        texts = list(dict.fromkeys(text for match in matches for text in (match.text, *match.others)))
        return mine(self._vectors(texts, kept), texts, matches, groups, count=self._recipe.mined_negatives)

    def _turns(self, match: Match, groups: Groups) -> list[Pairing]:
        """What a match is in one epoch after the other, before it starts over."""
        at_once = self._recipe.negatives
        unlike = match.negatives if at_once else ()
        turns = min(self.plan.epochs, max(len(match.others), math.ceil(len(unlike) / max(at_once, 1)), 1))
        found = []
        for turn in range(turns):
            start = turn * at_once % max(len(unlike), 1)
            texts = [match.text, match.others[turn % len(match.others)], *(unlike[start:] + unlike[:start])[:at_once]]
            found.append(Pairing(match.id, [self._read(text) for text in texts], [*map(groups.number, texts)]))
        return found

    def _read(self, text: str) -> list[int]:
        if text not in self._encoded:
            self._encoded[text] = self._tokenizer.encode(text).ids
        return self._encoded[text]

    def _search(self, rows: Sequence[Row], kept: Vectors) -> Search | None:
        """Look for the likes of the texts: among the others of the pairs; for labels, among the training rows."""
        form = self._splits.form
        asked = [row.text for row in rows if form is Form.TEXT or is_alike(row)]
        known = every_text(self._splits.train, form) if form is Form.TEXT else [other_of(row) for row in rows]
        asked, known = asked[:MAX_KNOWN], _spread(list(dict.fromkeys(known)))
        if not asked or not known:
            return None
        groups = read_groups((*self._splits.train, *self._splits.dev, *self._splits.test), form)
        return search(self._vectors(asked, kept), asked, self._vectors(known, kept), known, groups)

    def _vectors(self, texts: Sequence[str], kept: Vectors) -> np.ndarray:
        """The vectors of the texts, as the network is now; those that are kept are not computed again."""
        new = [text for text in dict.fromkeys(texts) if text not in kept]
        if new:
            kept.update(zip(new, outputs_of(self._network, self._tokenizer, new).numpy(), strict=True))
        return np.stack([kept[text] for text in texts])


def _metrics(found: Search | None, before: Search | None) -> dict[str, Any]:
    finding, base = found and found.finding(), before and before.finding()
    return {**finding.metrics(), "base": base.metrics()} if finding and base else {}


def _spread(texts: list[str]) -> list[str]:
    """At most `MAX_KNOWN` of the texts, from all over the list."""
    return texts if len(texts) <= MAX_KNOWN else [texts[n * len(texts) // MAX_KNOWN] for n in range(MAX_KNOWN)]
