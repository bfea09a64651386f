import math

import pytest
import torch

from inhouse.training.networks.preference_losses import dpo_loss, kto_loss


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_dpo_is_the_published_formula() -> None:
    chosen, rejected = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])

    losses = dpo_loss(chosen, rejected, beta=0.1)

    assert losses.tolist() == pytest.approx([-math.log(sigmoid(0.15)), -math.log(sigmoid(-0.4))])


def test_dpo_with_label_smoothing_takes_a_share_of_pairs_the_wrong_way_round() -> None:
    (loss,) = dpo_loss(torch.tensor([2.0]), torch.tensor([0.5]), beta=0.1, label_smoothing=0.2).tolist()

    assert loss == pytest.approx(-0.8 * math.log(sigmoid(0.15)) - 0.2 * math.log(sigmoid(-0.15)))


def test_kto_is_the_published_formula() -> None:
    ratio, good = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    mismatched = torch.tensor([0.5, 1.0, 0.0])
    moved = 0.5

    losses = kto_loss(ratio, good, mismatched, beta=0.1, desirable=1.0, undesirable=1.5)

    assert losses.tolist() == pytest.approx(
        [
            1 - sigmoid(0.1 * (1.0 - moved)),
            1.5 * (1 - sigmoid(0.1 * (moved - -2.0))),
            1.5 * (1 - sigmoid(0.1 * (moved - 0.5))),
        ]
    )


def test_the_reference_point_of_kto_is_never_negative_and_not_learned_from() -> None:
    mismatched = torch.tensor([-3.0, -1.0], requires_grad=True)
    ratio = torch.tensor([0.0, 0.0], requires_grad=True)

    losses = kto_loss(ratio, torch.tensor([1.0, 0.0]), mismatched, beta=0.1)
    losses.sum().backward()

    assert losses.tolist() == pytest.approx([0.5, 0.5])
    assert mismatched.grad is None
