import pytest

from inhouse.training.robustness import NOISES, Noise, spoiled

TEXTS = ["How many days of leave do I have left?", "我的密码过期了怎么办", "", "a"]


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_noise_depends_on_the_seed_alone(noise: Noise):
    assert spoiled(TEXTS, noise, seed=1) == spoiled(TEXTS, noise, seed=1)
    assert spoiled(TEXTS * 20, noise, seed=1) != spoiled(TEXTS * 20, noise, seed=2)


def test_typos_touch_little_of_a_text():
    text = "How many days of leave do I have left this year, please?"

    (found,) = spoiled([text], NOISES[0])

    assert found != text
    assert abs(len(found) - len(text)) <= 4
    assert len(set(found.split()) & set(text.split())) >= 6
