import pytest
from pydantic import ValidationError

from inhouse.core.fasthttp import Waits
from inhouse.gateway.policies.timeouts import Timeouts, TimeoutsSettings
from inhouse.gateway.policy import Surroundings

from .doubles import call


@pytest.fixture
def timeouts() -> Timeouts:
    found = Timeouts(Surroundings())
    found.configure(TimeoutsSettings.model_validate({"first_token_s": 20, "models": {"slow": {"total_s": 900}}}))
    return found


def test_a_stream_is_given_time_for_its_first_token(timeouts: Timeouts):
    timeouts.admit(asked := call(stream=True))

    assert asked.waits == Waits(5.0, 20.0, 120.0)
    assert asked.timeout_s == 600


def test_a_whole_answer_may_begin_as_late_as_it_may_end(timeouts: Timeouts):
    timeouts.admit(asked := call())

    assert asked.waits.head_s == 600


@pytest.mark.parametrize(("wanted_s", "given_s"), [(10.0, 10.0), (0.0, 600.0), (1e9, 600.0)])
def test_a_client_may_ask_for_less_never_for_more(timeouts: Timeouts, wanted_s: float, given_s: float):
    timeouts.admit(asked := call(timeout_s=wanted_s))

    assert asked.timeout_s == given_s


def test_a_model_may_have_times_of_its_own(timeouts: Timeouts):
    own = timeouts.settings.of("slow")

    assert (own.total_s, own.first_token_s) == (900, 20)


def test_the_whole_answer_always_has_a_minute(timeouts: Timeouts):
    with pytest.raises(ValidationError):
        TimeoutsSettings(total_s=30)
