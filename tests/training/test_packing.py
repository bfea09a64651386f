import random
from pathlib import Path

import pytest
import torch

from inhouse.testing.language import tiny_language_model
from inhouse.training.networks.causal import Causal, is_packable, open_causal
from inhouse.training.networks.packing import laid_out, pack, packed_batches
from inhouse.training.networks.tokens import Tokens


def sequence(number: int, length: int) -> Tokens:
    chance = random.Random(number)
    ids = [chance.randrange(5, 200) for _ in range(length)]
    return Tokens(str(number), ids, [place >= length // 3 for place in range(length)])


SEQUENCES = [sequence(number, length) for number, length in enumerate((12, 5, 31, 9, 17, 3, 24))]


@pytest.fixture(scope="module", params=["qwen2", "llama", "gpt2"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Causal:
    directory = tiny_language_model(tmp_path_factory.mktemp("base") / request.param, family=request.param)
    return Causal(open_causal(directory))


def test_packed_sequences_lose_exactly_what_separate_ones_do(network: Causal) -> None:
    separate = [network.surprise(laid_out([one])).surprise_N.sum().item() for one in SEQUENCES]

    packed = -network.surprise(laid_out(SEQUENCES, capacity=64)).sums(len(SEQUENCES))

    torch.testing.assert_close(packed, torch.tensor(separate), atol=1e-5, rtol=1e-6)


def test_filled_up_rows_lose_exactly_what_separate_ones_do(network: Causal) -> None:
    separate = [network.surprise(laid_out([one])).surprise_N.sum().item() for one in SEQUENCES]

    padded = -network.surprise(laid_out(SEQUENCES)).sums(len(SEQUENCES))

    torch.testing.assert_close(padded, torch.tensor(separate), atol=1e-5, rtol=1e-6)


def test_a_mask_of_ones_lets_packed_sequences_see_each_other(network: Causal) -> None:
    """What others do by mistake, and what the two tests above would catch."""
    batch = laid_out(SEQUENCES, capacity=128)
    right = network.surprise(batch).surprise_N

    ones = torch.ones_like(batch["input_ids"])
    logits = network.model(
        input_ids=batch["input_ids"], position_ids=batch["position_ids"], attention_mask=ones, use_cache=False
    ).logits

    learned = batch["targets"] != -100
    wrong = torch.nn.functional.cross_entropy(logits[learned], batch["targets"][learned], reduction="none")
    assert (wrong - right).abs().max() > 0.01


def test_gradients_of_packed_and_separate_sequences_agree(network: Causal) -> None:
    def slopes(capacity: int) -> list[torch.Tensor]:
        network.zero_grad()
        network.surprise(laid_out(SEQUENCES, capacity=capacity)).surprise_N.mean().backward()
        return [one.grad.clone() for one in network.parameters() if one.grad is not None]

    for packed, separate in zip(slopes(64), slopes(0), strict=True):
        torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-4)


def test_logits_in_pieces_are_the_same_logits(network: Causal, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = laid_out(SEQUENCES)
    whole = network.surprise(batch).surprise_N

    monkeypatch.setattr("inhouse.training.networks.causal.MOST_LOGITS", 7 * network.model.config.vocab_size)

    torch.testing.assert_close(network.surprise(batch).surprise_N, whole)


def test_rows_are_filled_without_cutting_or_losing_a_sequence() -> None:
    chance = random.Random(7)
    lengths = [chance.randrange(1, 65) for _ in range(200)]

    rows = pack(lengths, 64)

    assert sorted(one for row in rows for one in row) == list(range(200))
    assert all(sum(lengths[one] for one in row) <= 64 for row in rows)
    assert sum(lengths) / (64 * len(rows)) > 0.95


def test_every_epoch_has_as_many_packed_batches_in_another_order() -> None:
    chance = random.Random(3)
    lengths = [chance.randrange(1, 65) for _ in range(100)]

    first, second = (packed_batches(lengths, 64, 8, seed=0, epoch=epoch) for epoch in (0, 1))

    assert len(first) == len(second)
    assert first != second
    assert sorted(one for batch in second for one in batch) == list(range(100))


def test_a_window_that_slides_within_a_row_forbids_packing(tmp_path: Path) -> None:
    window = {"sliding_window": 16}
    model = open_causal(tiny_language_model(tmp_path / "mistral", family="mistral", config=window))

    assert not is_packable(model, 64)
    assert is_packable(model, 16)
