"""The choice of the next token: scores to one token, with the reasons that OpenAI's `logprobs` give."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from inhouse.serving.lm.request import Sampling

if TYPE_CHECKING:
    from torch import Tensor

HEAD = 512
"""Most of the weight lies on few tokens: only where it does not is the whole vocabulary sorted."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token, and with what probability it and the likeliest others came."""

    id: int
    logprob: float = 0.0
    others: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True, eq=False)
class Dice:
    """Chooses the tokens of one choice: its own random numbers, its own memory of what it said."""

    sampling: Sampling
    seed: int
    top_logprobs: int | None = None
    _said: Counter[int] = field(default_factory=Counter)
    _random: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self._random.manual_seed(self.seed)

    @property
    def is_plain(self) -> bool:
        """Whether the highest score wins, and nobody asks why."""
        return self.sampling.is_plain and self.top_logprobs is None

    def choose(self, scores: "Tensor", allowed: "Tensor | None" = None) -> Chosen:
        """Choose from the scores of the whole vocabulary, or of what is `allowed` in it (a mask)."""
        scores = self._adjust(scores)
        if allowed is not None:
            scores = scores.masked_fill(~allowed.to(scores.device), float("-inf"))
        id = int(scores.argmax()) if self.sampling.is_greedy else self._draw(scores)
        if self.sampling.presence_penalty or self.sampling.frequency_penalty:
            self._said[id] += 1
        return self._explain(scores, id)

    def _adjust(self, scores: "Tensor") -> "Tensor":
        biases = {id: value for id, value in self.sampling.logit_bias.items() if id < len(scores)}
        for id, times in self._said.items():
            penalty = self.sampling.presence_penalty + self.sampling.frequency_penalty * times
            biases[id] = biases.get(id, 0.0) - penalty
        if not biases:
            return scores
        places = torch.tensor(list(biases), device=scores.device)
        return scores.index_add(0, places, scores.new_tensor(list(biases.values())))

    def _draw(self, scores: "Tensor") -> int:
        sampling = self.sampling
        count = min(len(scores), sampling.top_k or len(scores))
        weights = torch.softmax(scores / sampling.temperature, -1)
        if sampling.top_p < 1 or sampling.min_p > 0 or count < len(scores):
            weights, ids = self._cut(weights, count)
        else:
            ids = None
        sums = weights.cpu().double().cumsum(0)
        point = torch.rand(1, dtype=torch.float64, generator=self._random) * sums[-1]
        place = min(int(torch.searchsorted(sums, point, right=True)), int((weights > 0).nonzero()[-1]))
        return place if ids is None else int(ids[place])

    def _cut(self, weights: "Tensor", count: int) -> "tuple[Tensor, Tensor]":
        """The likeliest tokens only, as top_k, top_p and min_p say; always at least one."""
        top, ids = weights.topk(min(HEAD, count))
        if len(top) < count and top.sum() < self.sampling.top_p and top[-1] >= top[0] * self.sampling.min_p:
            top, ids = weights.topk(count)
        before = top.cumsum(0) - top
        kept = (before < self.sampling.top_p * top.sum() if count < len(weights) else before < self.sampling.top_p) & (
            top >= top[0] * self.sampling.min_p
        )
        kept[0] = True
        return top[kept], ids[kept]

    def _explain(self, scores: "Tensor", id: int) -> Chosen:
        if self.top_logprobs is None:
            return Chosen(id)
        logprobs = torch.log_softmax(scores, -1)
        values, ids = logprobs.topk(min(self.top_logprobs, len(scores)))
        return Chosen(id, float(logprobs[id]), tuple(zip(ids.tolist(), values.tolist(), strict=True)))
