"""A head that learns alone, on vectors that are computed once: seconds for what a whole network takes minutes for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from inhouse.training.networks.classifier import Classifier
from inhouse.training.networks.encoded import Encoded, pad_of, vectors_of
from inhouse.training.networks.encoder_classifier import EncoderClassifier
from inhouse.training.networks.objectives import Objective
from inhouse.training.optimizer import AdamW
from inhouse.training.ranks import own_device
from inhouse.training.task import Emit, Fit, Precision

STEPS = 300
BATCH = 512
LEARNING_RATE = 0.02
REPORT_EVERY = 20

Report = Callable[[int, float], object]


def learn_head(
    network: EncoderClassifier,
    vectors: Tensor,
    items: Sequence[Encoded],
    objective: Objective,
    *,
    learning_rate: float | None = None,
    report: Report = lambda step, loss: None,
) -> None:
    """Teach the head on the vectors of these items, beginning as the mean of each label's."""
    device = vectors.device
    batch = {
        "target": torch.tensor([item.target for item in items], device=device),
        "weight": torch.tensor([item.weight for item in items], device=device),
    }
    network.start_from(vectors, objective.members(batch["target"], network.head.out_features))
    weight, bias = (p.detach().clone().requires_grad_() for p in network.head.parameters())
    optimizer = AdamW([{"params": [weight, bias]}], learning_rate=learning_rate or LEARNING_RATE)
    for step in range(STEPS):
        rows = torch.randint(len(items), (BATCH,), device=device)
        some = {name: tensor[rows] for name, tensor in batch.items()}
        loss = (objective.losses(F.linear(vectors[rows], weight, bias), some) * some["weight"]).mean()
        weight.grad = bias.grad = None
        loss.backward()
        optimizer.step(1 - step / STEPS)
        report(step + 1, loss.item())
    network.head.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})


class Instant(Fit):
    """Leaves the encoder as it is and teaches a head on its vectors."""

    def __init__(
        self,
        classifier: Classifier,
        network: EncoderClassifier,
        objective: Objective,
        *,
        train: Sequence[Encoded],
        learning_rate: float | None,
        precision: Precision,
    ) -> None:
        self._classifier = classifier
        self._network = network
        self._objective = objective
        self._train = train
        self._learning_rate = learning_rate or LEARNING_RATE
        self._precision: Precision = precision

    def fit(self, *, emit: Emit, should_stop: Callable[[], bool]) -> bool:
        self._network.to(own_device())
        emit("started", steps=STEPS, epochs=1, resumed_from=0)
        vectors = vectors_of(
            self._network,
            [item.tokens for item in self._train],
            pad=pad_of(self._classifier.tokenizer),
            precision=self._precision,
            should_stop=should_stop,
        )
        if vectors is None:
            return False

        def report(step: int, loss: float) -> None:
            if step % REPORT_EVERY == 0:
                emit("step", step=step, epoch=1, loss=round(loss, 6), lr=self._learning_rate * (1 - (step - 1) / STEPS))

        learn_head(
            self._network,
            vectors,
            self._train,
            self._objective,
            learning_rate=self._learning_rate,
            report=report,
        )
        return True

    def finish(self, directory: Path, *, lineage: Mapping[str, Any], emit: Emit) -> dict[str, Any]:
        return self._classifier.finish(directory, lineage=lineage, emit=emit)
