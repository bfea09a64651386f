"""What the `tag` recipe gives the loop: windows of tagged tokens, a network, and its evaluation and export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from inhouse.core.ids import now
from inhouse.models.spans import SpanFinder, Tensors, Window, decode, moves_of, pad_of, set_windows, tags_of, windows_of
from inhouse.training.dataset import Row, Splits
from inhouse.training.evaluate import fit_temperature
from inhouse.training.evaluate_spans import SpanReport, evaluate_spans
from inhouse.training.export import write_artifact
from inhouse.training.networks.network import Network
from inhouse.training.spans import align, flatten, labels_of, spans_of
from inhouse.training.task import Batch, Emit, Judged, Plan, Task

if TYPE_CHECKING:
    from inhouse.training.recipes.tag import Tag

NO_TAG = -100
"""The target of tokens that are no part of the text."""
FORBIDDEN = -1e4
CALIBRATED_TOKENS = 50_000


@dataclass(frozen=True, slots=True)
class Tagged:
    """One window of a row as token numbers and their tags. A weight of 4 counts as much as four rows."""

    id: str
    tokens: list[int]
    tags: list[int]
    weight: float

    def __len__(self) -> int:
        return len(self.tokens)


class Tagging(Task[Tagged]):
    """Learns to mark in texts what is marked in the training rows."""

    def __init__(
        self, recipe: Tag, plan: Plan, splits: Splits, network: Network, tokenizer: Tokenizer, *, max_length: int
    ) -> None:
        self.plan = plan
        self._network = network
        self._recipe = recipe
        self._splits = splits
        self._labels = labels_of(splits)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._stride = recipe.stride_for(max_length)
        self._left_out = sum(len(spans_of(row)) - len(flatten(spans_of(row))) for row in splits.train)
        set_windows(tokenizer, max_length=max_length, stride=self._stride)
        self.train = self._encode(splits.train)
        self.dev = self._encode(splits.dev)
        tags = 2 * len(self._labels) + 1
        self._moves = nn.Parameter(torch.zeros(tags, tags)) if recipe.crf else None
        self._allowed = torch.from_numpy(moves_of(len(self._labels))).float().clamp(min=FORBIDDEN)
        self._tag_weights = self._weigh(tags)
        self.module = _Learned(network, self._moves)

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups = self._network.parameter_groups(self.plan)
        if self._moves is not None:
            fastest = max(group.get("lr", self.plan.learning_rate) for group in groups)
            groups.append({"params": [self._moves], "weight_decay": 0.0, "lr": fastest})
        return groups

    def collate(self, items: Sequence[Tagged]) -> Batch:
        longest = max(map(len, items))
        pad = pad_of(self._tokenizer)
        return {
            "input_ids": torch.tensor([item.tokens + [pad] * (longest - len(item)) for item in items]),
            "attention_mask": torch.tensor([[1] * len(item) + [0] * (longest - len(item)) for item in items]),
            "target": torch.tensor([item.tags + [NO_TAG] * (longest - len(item)) for item in items]),
            "weight": torch.tensor([item.weight for item in items]),
        }

    def loss(self, batch: Batch) -> Tensor:
        logits, target = self._logits(batch), batch["target"]
        is_token = target != NO_TAG
        if self._moves is not None:
            losses = self._surprise(logits, target)
        else:
            losses = (_cross_entropy(logits, target) * self._tag_weights.to(logits.device)[target.clamp(min=0)]).sum(1)
        return (losses / is_token.sum(1).clamp(min=1) * batch["weight"]).mean()

    def judge(self, batch: Batch) -> Judged:
        """Of the tokens that are marked, or were taken to be, how many got the right tag; averaged over windows.

        All others are left out: nearly every token lies outside of every span, and is right in the worst of models.
        """
        logits, target = self._logits(batch), batch["target"]
        is_token = target != NO_TAG
        if self._moves is None:
            said = logits.argmax(-1)
            losses = _cross_entropy(logits, target).sum(1)
        else:
            said, losses = self._likeliest(logits, is_token), self._surprise(logits, target)
        counts = is_token & ((target > 0) | (said > 0))
        right = ((said == target) & counts).sum(1) / counts.sum(1).clamp(min=1)
        right = torch.where(counts.any(1), right, torch.ones_like(right))
        loss = (losses / is_token.sum(1).clamp(min=1)).sum()
        return Judged(loss.item(), right.sum().item(), len(target))

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        self.module.cpu()
        if self._left_out:
            message = f"{self._left_out} spans overlap a longer one and were not learned: a place has one type."
            emit("warning", message=message)
        temperature = self._calibrate()
        report = self._evaluate(temperature)
        metrics = report.metrics() if report else {}
        emit("evaluated", metrics=metrics)
        tags = tags_of(self._labels)
        manifest = {
            "kind": "tag",
            "created_at": now(),
            "labels": self._labels,
            "signature": {"inputs": {"text": "string"}, "outputs": {"spans": "list"}},
            "max_length": self._max_length,
            "temperature": temperature,
            "unknown_threshold": 0.0,
            "settings": {"tags": tags, "stride": self._stride, "max_length": self._max_length, "moves": self._costs()},
            "metrics": metrics,
            "lineage": dict(lineage),
        }
        samples = [row.text for row in self._splits.dev or self._splits.train]
        self._tokenizer.enable_padding(pad_id=pad_of(self._tokenizer))
        write_artifact(directory, self._network, self._tokenizer, manifest, samples=samples)
        emit("exported")
        return metrics

    def _calibrate(self) -> float:
        """Return the temperature that suits the tokens of the dev split; 1 without them."""
        rows = self._splits.dev
        if not rows:
            return 1.0
        scores = np.concatenate(self._finder(1.0).scores([row.text for row in rows]))
        targets = np.concatenate([np.array(self._tags(row), dtype=int) for row in rows])
        chosen = np.random.default_rng(self.plan.seed).permutation(len(targets))[:CALIBRATED_TOKENS]
        return fit_temperature(scores[chosen], targets[chosen])

    def _evaluate(self, temperature: float) -> SpanReport | None:
        """Judge on the test split; on dev where no row was held out for testing; where there is neither, not at all."""
        rows = self._splits.test or self._splits.dev
        return evaluate_spans(self._finder(temperature).find, rows) if rows else None

    def _finder(self, temperature: float) -> SpanFinder:
        self._network.eval()
        costs = self._costs()
        return SpanFinder(
            self._tokenizer,
            self._labels,
            self._run,
            max_length=self._max_length,
            stride=self._stride,
            temperature=temperature,
            moves=np.array(costs) if costs else None,
        )

    @torch.inference_mode()
    def _run(self, tensors: Tensors) -> np.ndarray:
        return self._network(*(torch.from_numpy(tensors[name]) for name in self._network.inputs)).float().numpy()

    def _costs(self) -> list[list[float]]:
        """What was learned about moves between tags; nothing, unless it was asked for."""
        return [] if self._moves is None else self._moves.detach().cpu().tolist()

    def _logits(self, batch: Batch) -> Tensor:
        return self._network(*(batch[name] for name in self._network.inputs)).float()

    def _likeliest(self, logits: Tensor, is_token: Tensor) -> Tensor:
        moves = moves_of(len(self._labels)) + np.array(self._costs())
        said = torch.zeros(is_token.shape, dtype=torch.long)
        scores = [one[there].cpu().numpy() for one, there in zip(logits, is_token, strict=True)]
        for row, there, path in zip(said, is_token.cpu(), decode(scores, moves), strict=True):
            row[there] = torch.from_numpy(path)
        return said.to(logits.device)

    def _surprise(self, logits_BTC: Tensor, target_BT: Tensor) -> Tensor:
        """How unlikely the right tags of each window are among all tags that it could have (a linear-chain CRF)."""
        assert self._moves is not None
        moves_CC = self._moves + self._allowed.to(self._moves.device)
        is_token_BT = target_BT != NO_TAG
        tag_BT = target_BT.clamp(min=0)
        before_B = torch.zeros_like(tag_BT[:, 0])
        all_BC = torch.full_like(logits_BTC[:, 0], FORBIDDEN)
        all_BC[:, 0] = 0.0
        right_B = torch.zeros_like(logits_BTC[:, 0, 0])
        for step in range(logits_BTC.shape[1]):
            here_BC, tag_B, is_token_B = logits_BTC[:, step], tag_BT[:, step], is_token_BT[:, step]
            move_B = moves_CC[before_B, tag_B] + here_BC.gather(1, tag_B.unsqueeze(1)).squeeze(1)
            right_B = right_B + torch.where(is_token_B, move_B, torch.zeros_like(move_B))
            next_BC = torch.logsumexp(all_BC.unsqueeze(2) + moves_CC, dim=1) + here_BC
            all_BC = torch.where(is_token_B.unsqueeze(1), next_BC, all_BC)
            before_B = torch.where(is_token_B, tag_B, before_B)
        return torch.logsumexp(all_BC, dim=1) - right_B

    def _weigh(self, tags: int) -> Tensor:
        """The weight of each tag: `balance` 0 counts tokens alike, 1 gives each tag the same say in all."""
        seen = torch.zeros(tags)
        for item in self.train:
            for tag in item.tags:
                if tag != NO_TAG:
                    seen[tag] += 1
        weights = (seen.sum() / seen.clamp(min=1)) ** self._recipe.balance
        return weights * seen.sum() / (weights * seen).sum().clamp(min=1e-6)

    def _encode(self, rows: Sequence[Row]) -> list[Tagged]:
        items = []
        for row in rows:
            weight = self._recipe.correction_weight if row.is_correction else 1.0
            tags = self._tags(row)
            for window in self._windows(row):
                own = [NO_TAG] * len(window.encoding.ids)
                own[window.own] = tags[window.first : window.last]
                items.append(Tagged(row.id, window.encoding.ids, own, weight))
        return items

    def _tags(self, row: Row) -> list[int]:
        offsets: list[tuple[int, int]] = []
        for window in self._windows(row):
            offsets += window.encoding.offsets[window.own][len(offsets) - window.first :]
        labels = {label: number for number, label in enumerate(self._labels)}
        return align(flatten(spans_of(row)), offsets, labels)

    def _windows(self, row: Row) -> list[Window]:
        return windows_of(self._tokenizer.encode(row.text), self._stride)


def _cross_entropy(logits_BTC: Tensor, target_BT: Tensor) -> Tensor:
    """The loss of each token. Flat, because on GPUs only that is computed the same way every time."""
    flat = F.cross_entropy(logits_BTC.flatten(0, 1), target_BT.flatten(), reduction="none", ignore_index=NO_TAG)
    return flat.view_as(target_BT)


class _Learned(nn.Module):
    """What the loop trains, saves and restores: the network, and what is learned about moves."""

    def __init__(self, network: Network, moves: nn.Parameter | None) -> None:
        super().__init__()
        self.network = network
        self.moves = moves
