from collections.abc import Callable

import torch

from inhouse.training.optimizer import AdamW


def descend(step: Callable[[], object], parameters: list[torch.Tensor]) -> None:
    """Ten steps down a bowl; the last parameter has no gradient in every other one."""
    for turn in range(10):
        for number, parameter in enumerate(parameters):
            idle = number == len(parameters) - 1 and turn % 2
            parameter.grad = None if idle else 2 * parameter.detach() + turn
        step()


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(3)]


def test_it_moves_as_torch_does():
    ours, theirs = parameters(), parameters()
    groups = [{"weight_decay": 0.1}, {"lr": 0.5, "weight_decay": 0.0}]
    mine = AdamW([{"params": ours[:1], **groups[0]}, {"params": ours[1:], **groups[1]}], learning_rate=0.01)
    reference = torch.optim.AdamW(
        [{"params": theirs[:1], **groups[0]}, {"params": theirs[1:], **groups[1]}], lr=0.01, fused=True
    )

    descend(lambda: mine.step(1.0), ours)
    descend(reference.step, theirs)

    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_its_state_can_be_taken_over():
    straight, broken = parameters(), parameters()
    first, second = (AdamW([{"params": each}], learning_rate=0.1) for each in (straight, broken))
    descend(lambda: first.step(1.0), straight)
    descend(lambda: second.step(1.0), broken)

    heir = AdamW([{"params": broken}], learning_rate=0.1)
    heir.load({name: tensor.clone() for name, tensor in second.state().items()})
    descend(lambda: first.step(0.5), straight)
    descend(lambda: heir.step(0.5), broken)

    assert all(torch.equal(a, b) for a, b in zip(straight, broken, strict=True))
