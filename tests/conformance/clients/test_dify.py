"""The model classes with which Dify talks to OpenAI-compatible servers. They patch the interpreter that loads them."""

from pathlib import Path

import pytest

from conformance.conftest import Endpoint
from conformance.environments import CLIENTS, cases, expect, pytest_command, python

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(900)]

NEEDS = ("dify_plugin==0.7.4", "pytest==9.2.0")


def test_the_model_classes_of_dify_work(endpoint: Endpoint, tmp_path: Path, subtests: pytest.Subtests) -> None:
    report = tmp_path / "report.xml"
    suite = CLIENTS / "dify_models.py"
    options = ("-c", str(CLIENTS / "outside.ini"), "--noconftest", "--rootdir", str(tmp_path), str(suite))
    _, _, *pytest_options = pytest_command(python("dify", *NEEDS), report, *options)[1:]
    # gevent has to patch the interpreter before anything else is loaded.
    start = "import dify_plugin, sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"

    found = cases(
        [str(python("dify", *NEEDS)), "-c", start, *pytest_options],
        report,
        cwd=tmp_path,
        environ={"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": endpoint.key},
    )

    expect(found, subtests, at_least=18)
