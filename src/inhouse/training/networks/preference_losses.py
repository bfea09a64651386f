"""The losses of learning from preferences and from ratings, as their authors published them.

All take log-likelihoods of whole answers: those of the model in training, and those of where it started.
"""

from torch import Tensor
from torch.nn import functional as F


def dpo_loss(chosen: Tensor, rejected: Tensor, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023), of each pair.

    `chosen` and `rejected` are log-ratios: how much likelier an answer has become than it was at the start. With
    label smoothing (Mitchell 2023, conservative DPO) that share of the pairs is taken to be the wrong way round.
    """
    margin = beta * (chosen - rejected)
    return -F.logsigmoid(margin) * (1 - label_smoothing) - F.logsigmoid(-margin) * label_smoothing


def kto_loss(
    ratio: Tensor, good: Tensor, mismatched: Tensor, *, beta: float, desirable: float = 1.0, undesirable: float = 1.0
) -> Tensor:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024), of each rated answer.

    `ratio` are log-ratios, `good` says which answers were. The reference point is how far the model has moved as a
    whole, estimated by the log-ratios of answers to questions that are not theirs (`mismatched`); it is never negative
    and not learned from.
    """
    moved = mismatched.mean().clamp(min=0).detach()
    gain = beta * (ratio - moved)
    return desirable * good * (1 - gain.sigmoid()) + undesirable * (1 - good) * (1 - (-gain).sigmoid())
