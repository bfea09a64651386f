"""LangChain's standard tests for integrations, with `langchain-openai` pointed at our server."""

from pathlib import Path

import pytest

from conformance.conftest import Endpoint
from conformance.environments import CLIENTS, cases, expect, pytest_command, python

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(900)]

NEEDS = ("langchain-openai==1.7.3", "langchain-tests==1.1.9", "pytest==9.2.0")
# Left out: what downloads pictures, sounds and documents, what is for other providers, and a benchmark.
OURS = "not (image or audio or pdf or anthropic or stream_time)"


def test_the_standard_tests_of_langchain_pass(endpoint: Endpoint, tmp_path: Path, subtests: pytest.Subtests) -> None:
    report = tmp_path / "report.xml"
    suite = CLIENTS / "langchain_standard.py"
    options = ("-c", str(CLIENTS / "outside.ini"), "--noconftest", "--rootdir", str(tmp_path), "-k", OURS, str(suite))
    command = pytest_command(python("langchain", *NEEDS), report, *options)

    found = cases(
        command, report, cwd=tmp_path, environ={"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": endpoint.key}
    )

    expect(found, subtests, at_least=85)
