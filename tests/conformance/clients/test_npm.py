"""The official client for JavaScript, in node's own test runner."""

import shutil
from pathlib import Path

import pytest

from conformance.conftest import Endpoint
from conformance.environments import CLIENTS, cases, expect, node

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(900)]


def test_the_javascript_client_works(endpoint: Endpoint, tmp_path: Path, subtests: pytest.Subtests) -> None:
    packages = node("npm", CLIENTS / "package.json")
    suite = shutil.copy(CLIENTS / "openai.mjs", packages / "openai.test.mjs")
    report = tmp_path / "report.xml"
    options = ["--test-reporter=junit", f"--test-reporter-destination={report}"]

    found = cases(
        ["node", "--test", *options, str(suite)],
        report,
        cwd=packages,
        environ={"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": endpoint.key},
    )

    expect(found, subtests, at_least=12)
