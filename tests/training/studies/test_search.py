import pytest

from inhouse.training.recipe import BadConfig
from inhouse.training.studies.search import COMPLETE, FAILED, PRUNED, RUNNING, Search, Trial
from inhouse.training.studies.space import BadSpace, Range, default_space, read_space

SPACE = {
    "learning_rate": Range(low=1e-4, high=1e-1, log=True),
    "epochs": Range(low=2, high=9),
    "batch_size": Range(choices=[8, 16, 32]),
}


def trial(number: int, value: float, state: str = COMPLETE, **params: object) -> Trial:
    settings = {"learning_rate": 0.01, "epochs": 3, "batch_size": 8, **params}
    return Trial(number, f"run_{number}", state, settings, {1: value / 2, 2: value} if value else {})


def test_suggestions_lie_in_the_space_and_repeat_for_the_same_seed_and_history():
    search, history = Search(SPACE, seed=5), [trial(0, 0.5), trial(1, 0.7, FAILED), trial(2, 0.0, RUNNING)]

    found = search.suggest(history)

    assert found == search.suggest(history)
    assert found.keys() == SPACE.keys()
    assert 1e-4 <= found["learning_rate"] <= 1e-1
    assert isinstance(found["epochs"], int)
    assert found["batch_size"] in (8, 16, 32)
    assert found != Search(SPACE, seed=6).suggest(history)


def test_the_search_goes_where_the_good_ones_were():
    search = Search({"learning_rate": Range(low=0.0, high=1.0)}, seed=0)
    history: list[Trial] = []
    for number in range(40):
        params = search.suggest(history)
        value = 1 - (params["learning_rate"] - 0.8) ** 2
        history.append(Trial(number, f"run_{number}", COMPLETE, params, {1: value}))

    late = [abs(one.params["learning_rate"] - 0.8) for one in history[25:]]

    assert sum(late) / len(late) < 0.25  # by chance it would be 0.34


@pytest.mark.parametrize("objective", ["accuracy", "loss"])
def test_a_trial_far_behind_is_hopeless(objective: str):
    search = Search(SPACE, objective=objective, pruner="median")  # pyright: ignore[reportArgumentType]  # either
    others = [Trial(n, f"run_{n}", COMPLETE, dict(trial(0, 1).params), {1: 0.5 + n / 100}) for n in range(4)]
    low = Trial(4, "run_4", RUNNING, others[0].params, {1: 0.1})
    high = Trial(4, "run_4", RUNNING, others[0].params, {1: 0.9})

    verdicts = [search.is_hopeless([*others, one], 4) for one in (low, high)]

    assert verdicts == ([True, False] if objective == "accuracy" else [False, True])


def test_the_best_is_one_that_was_trained_to_its_end():
    trials = [trial(0, 0.6), trial(1, 0.9, PRUNED), trial(2, 0.8), trial(3, 0.8), trial(4, 0.99, RUNNING)]

    best = Search(SPACE).best(trials)

    assert best is not None
    assert best.number == 2
    assert Search(SPACE).best([trial(0, 0.9, PRUNED)]) is None


def test_a_space_suits_the_recipe_and_leaves_settled_things_alone():
    scratch, tuned = default_space("classify", {}), default_space("classify", {"base": "/models/x", "dropout": 0.1})

    assert scratch["learning_rate"].high > tuned["learning_rate"].high  # pyright: ignore[reportOperatorIssue]  # numbers
    assert "dropout" in scratch
    assert "dropout" not in tuned


@pytest.mark.parametrize(
    "space",
    [
        {"learning_rate": {"low": 1.0, "high": 0.1}},
        {"learning_rate": {"low": 0.0, "high": 0.1, "log": True}},
        {"learning_rate": {"low": 0.1}},
        {"learning_rate": {"low": 0.1, "high": 0.2, "choices": [0.1]}},
    ],
)
def test_a_space_that_is_none_is_refused(space: dict[str, dict[str, object]]):
    with pytest.raises(BadSpace):
        read_space("classify", {}, space)


def test_values_that_the_recipe_would_refuse_are_refused_at_once():
    with pytest.raises(BadConfig):
        read_space("classify", {}, {"epochs": {"low": 0, "high": 5}})
    with pytest.raises(BadConfig):
        read_space("classify", {}, {"moon": {"choices": ["full"]}})
    with pytest.raises(BadSpace, match="not trained in steps"):
        read_space("tabular", {}, {})
