"""Which parts of a text speak for a label: integrated gradients over the embeddings of its tokens.

The network is asked along a straight path from a text that says nothing to the text itself. What the slopes along it
add up to is exactly what the text changes in the label's logit: nothing is left over, which `gap` shows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor, nn

from inhouse.core.errors import Invalid
from inhouse.models.label_scores import SEVERAL, LabelScores
from inhouse.training.networks.network import encode
from inhouse.training.networks.open import Opened
from inhouse.training.networks.pretrained import Pretrained
from inhouse.training.networks.text_classifier import TextClassifier

KINDS = ("classify", "rerank")
STEPS = (32, 128, 512)
"""Places on the path; more where fewer leave a gap."""
_ENOUGH = 0.005
_AT_ONCE = 64


class NotExplainable(Invalid):
    """There is no explanation for this."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text, in characters, `end` exclusive. A positive weight speaks for the label, a negative against.

    `part` is 1 in the second text of a pair.
    """

    text: str
    start: int
    end: int
    weight: float
    part: int = 0


@dataclass(frozen=True, slots=True)
class Explanation:
    """The weights of all tokens sum up to `logit - baseline`, but for `gap`."""

    label: str
    score: float
    logit: float
    baseline: float
    gap: float
    tokens: list[Token]

    def wire(self) -> dict[str, Any]:
        return asdict(self)


def explain(opened: Opened, text: str, *, other: str = "", label: str = "") -> Explanation:
    """Explain a label of a text, by default the likeliest one; of a pair, why the two belong together."""
    kind, labels = opened.manifest["kind"], opened.manifest["labels"] or ["relevant"]
    if kind not in KINDS:
        raise NotExplainable(f"Models of the kind {kind!r} cannot be explained.", hint="Known: " + ", ".join(KINDS))
    if label and label not in labels:
        raise NotExplainable(f"The model has no label {label!r}.", hint="Known: " + ", ".join(labels[:20]))
    asked: Any = (text, other) if kind == "rerank" else text
    inputs = encode(opened.tokenizer, [asked], opened.network.inputs)
    encoding = opened.tokenizer.encode_batch([asked])[0]
    with torch.inference_mode():
        logits = opened.network(*inputs)[0].double()
    target = labels.index(label) if label else int(logits.argmax())
    path = _Path(opened, inputs, encoding)
    weights, baseline, gap = path.weigh(target, float(logits[target]))
    return Explanation(
        label=labels[target],
        score=_score(opened.manifest, logits, target),
        logit=float(logits[target]),
        baseline=baseline,
        gap=gap,
        tokens=_tokens(encoding, (text, other), weights),
    )


class _Path:
    """From a text of nothing but padding to the text, as the network's embeddings see it."""

    def __init__(self, opened: Opened, inputs: tuple[Tensor, ...], encoding: Encoding) -> None:
        self._network = opened.network
        self._inputs = inputs
        self._embeddings = _embeddings(opened)
        self._tokens = len(encoding.ids)
        self._end = self._seen()
        self._start = self._nothing(opened, encoding)

    def weigh(self, target: int, logit: float) -> tuple[np.ndarray, float, float]:
        """The weight of every token, the logit of nothing, and what is left over; looking closer while that is much."""
        found = (np.zeros(self._tokens), 0.0, np.inf)
        for steps in STEPS:
            weights, baseline = self._walk(target, steps)
            found = (weights, baseline, logit - baseline - float(weights.sum()))
            if abs(found[2]) <= _ENOUGH * max(1.0, abs(logit - baseline)):
                break
        return found

    def _walk(self, target: int, steps: int) -> tuple[np.ndarray, float]:
        """Return the weight of every token, and the target's logit where the path begins."""
        places, shares = np.polynomial.legendre.leggauss(steps)
        difference = self._end - self._start
        slopes = torch.zeros_like(difference)
        for first in range(0, steps, _AT_ONCE):
            here = torch.tensor((places[first : first + _AT_ONCE] + 1) / 2, dtype=torch.float32)
            share = torch.tensor(shares[first : first + _AT_ONCE] / 2, dtype=torch.float32)
            points = (self._start + here[:, None, None] * difference).requires_grad_()
            logits = self._run(points)[:, target]
            (slope,) = torch.autograd.grad(logits.sum(), points)
            slopes += (slope * share[:, None, None]).sum(0, keepdim=True)
        with torch.no_grad():
            baseline = float(self._run(self._start)[0, target])
        return self._spread((slopes * difference).sum(-1)[0].double().numpy()), baseline

    def _run(self, embedded: Tensor) -> Tensor:
        """What the network says when its embeddings are these."""
        hook = self._embeddings.register_forward_hook(lambda *_: embedded)
        try:
            return self._network(*(one.expand(len(embedded), -1) for one in self._inputs)).double()
        finally:
            hook.remove()

    def _seen(self) -> Tensor:
        seen: list[Tensor] = []

        def note(_module: nn.Module, _inputs: object, output: Any) -> None:
            seen.append(output)

        hook = self._embeddings.register_forward_hook(note)
        try:
            with torch.no_grad():
                self._network(*self._inputs)
        finally:
            hook.remove()
        return seen[0].detach()

    def _nothing(self, opened: Opened, encoding: Encoding) -> Tensor:
        """The same marks of beginning and end, and padding between them; without any embedding of it, zero."""
        if isinstance(self._network, TextClassifier):
            return torch.zeros_like(self._end)
        pad = (opened.tokenizer.padding or {"pad_id": 0})["pad_id"]
        is_special = torch.tensor(encoding.special_tokens_mask).bool()[None, :, None]
        return torch.where(is_special, self._end, self._embeddings.weight.detach()[pad])

    def _spread(self, weights: np.ndarray) -> np.ndarray:
        """From what was embedded to tokens: a run of several characters shares its weight among them."""
        if not isinstance(self._network, TextClassifier):
            return weights
        shared = np.zeros(self._tokens)
        for size, row in enumerate(weights.reshape(self._network.longest, self._tokens), start=1):
            for place, weight in enumerate(row):
                shared[place : place + size] += weight / min(size, self._tokens - place)
        return shared


def _embeddings(opened: Opened) -> nn.Embedding:
    network = opened.network
    if isinstance(network, TextClassifier):
        return network.vectors
    inner: Any = network.model if isinstance(network, Pretrained) else getattr(network, "encoder", None)
    found = inner.get_input_embeddings() if inner is not None else None
    if not isinstance(found, nn.Embedding):
        raise NotExplainable(f"A network of the type {type(network).__name__} cannot be explained.")
    return found


def _tokens(encoding: Encoding, texts: Sequence[str], weights: np.ndarray) -> list[Token]:
    """Where each token lies. What lies nowhere, such as the mark of the beginning, has no weight on this path."""
    found = []
    for (start, end), part, weight in zip(encoding.offsets, encoding.sequence_ids, weights.tolist(), strict=True):
        if part is not None:
            found.append(Token(texts[part][start:end], start, end, weight, part))
    return found


def _score(manifest: dict[str, Any], logits: Tensor, target: int) -> float:
    settings = {SEVERAL: True} if manifest["kind"] == "rerank" else manifest.get("settings", {})
    read = LabelScores.of(manifest.get("temperature", 1.0), settings)
    return float(read.probabilities(logits.numpy()[None])[0, target])
