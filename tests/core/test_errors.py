import pytest

from inhouse.core import errors


class ModelNotFound(errors.NotFound):
    pass


class BadHTTPAnswer(errors.Unavailable):
    pass


def test_code_and_kind_come_from_the_class() -> None:
    error = ModelNotFound("There is no model named 'x'.", hint="Known: intent.", name="x")

    assert (error.code, error.kind, error.status) == ("model_not_found", "not_found", 404)
    assert error.wire("req_1")["error"]["details"] == {"name": "x"}


def test_abbreviations_stay_together() -> None:
    assert BadHTTPAnswer("…").code == "bad_http_answer"


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        (errors.NotFound, 404, False),
        (errors.Invalid, 422, False),
        (errors.Conflict, 409, False),
        (errors.Denied, 403, False),
        (errors.LimitExceeded, 429, True),
        (errors.Unavailable, 503, True),
        (errors.TimedOut, 504, True),
        (errors.Misconfigured, 500, False),
    ],
)
def test_each_kind_has_its_status(kind: type[errors.InhouseError], status: int, retryable: bool) -> None:
    assert (kind.status, kind.retryable) == (status, retryable)
