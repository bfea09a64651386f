import math
from collections import Counter

import pytest
import torch

from inhouse.serving.lm.request import Sampling
from inhouse.serving.lm.sampling import Dice

SCORES = torch.tensor([2.0, 1.0, 0.0, -1.0])


def draws(sampling: Sampling, *, count: int = 400, seed: int = 0) -> Counter[int]:
    dice = Dice(sampling, seed)
    return Counter(dice.choose(SCORES).id for _ in range(count))


def test_tokens_come_as_often_as_their_scores_say() -> None:
    drawn = draws(Sampling(), count=4000)

    for id, probability in enumerate(torch.softmax(SCORES, -1).tolist()):
        assert abs(drawn[id] / 4000 - probability) < 0.03


def test_a_low_temperature_makes_the_likely_likelier() -> None:
    assert draws(Sampling(temperature=0.2))[0] > draws(Sampling(temperature=2))[0]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_p=0.01), {0}),
        (Sampling(top_p=0.8), {0, 1}),
        (Sampling(min_p=0.3), {0, 1}),
        (Sampling(top_p=0), {0}),
        (Sampling(temperature=0), {0}),
    ],
)
def test_the_unlikely_are_cut_off(sampling: Sampling, kept: set[int]) -> None:
    assert set(draws(sampling)) == kept


def test_a_wide_flat_vocabulary_is_cut_at_the_right_place() -> None:
    dice = Dice(Sampling(top_p=0.5), 0)
    flat = torch.zeros(4000)

    drawn = {dice.choose(flat).id for _ in range(3000)}

    assert 900 < len(drawn) <= 2001


def test_the_same_seed_draws_the_same() -> None:
    assert draws(Sampling(), seed=7) == draws(Sampling(), seed=7) != draws(Sampling(), seed=8)


def test_penalties_make_room_for_other_tokens() -> None:
    assert len(draws(Sampling(temperature=0, frequency_penalty=1), count=10)) > 2
    assert set(draws(Sampling(temperature=0, presence_penalty=2), count=10)) == {0, 1}


def test_a_bias_decides() -> None:
    assert set(draws(Sampling(logit_bias={3: 100, 99: 5}), count=20)) == {3}


def test_only_what_is_allowed_is_chosen() -> None:
    dice = Dice(Sampling(), 0)
    allowed = torch.tensor([False, False, True, False])

    assert {dice.choose(SCORES, allowed).id for _ in range(20)} == {2}


def test_the_reasons_are_probabilities() -> None:
    chosen = Dice(Sampling(temperature=0), 0, top_logprobs=4).choose(SCORES)

    assert chosen.others[0] == (0, chosen.logprob)
    assert math.isclose(sum(math.exp(logprob) for _, logprob in chosen.others), 1, rel_tol=1e-5)
