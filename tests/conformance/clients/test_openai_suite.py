"""The official client's own test suite: every method with every parameter, answers checked against its types."""

import re
from pathlib import Path

import pytest

from conformance.conftest import Endpoint
from conformance.environments import cases, expect, pytest_command, python, source

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(900)]

VERSION = "openai==3.52.0"
NEEDS = ("openai[aiohttp]==3.52.0", "pytest==9.2.0", "pytest-asyncio==1.5.0", "rich==15.0.0")
FILES = {
    "chat": "tests/api_resources/chat/test_completions.py",
    "completions": "tests/api_resources/test_completions.py",
    "embeddings": "tests/api_resources/test_embeddings.py",
    "models": "tests/api_resources/test_models.py",
    "moderations": "tests/api_resources/test_moderations.py",
    "images": "tests/api_resources/test_images.py",
    "transcriptions": "tests/api_resources/audio/test_transcriptions.py",
    "translations": "tests/api_resources/audio/test_translations.py",
}
# Left out: what only OpenAI itself keeps (stored completions, edited pictures, deleted models), pictures of no
# model, and the one thing that no server that packs embeddings can pass: validating them before unpacking them.
OURS = {
    "chat": "create",
    "embeddings": "all_params or not (strict or aiohttp)",
    "images": "generate and all_params",
    "models": "not delete and not path_params",
}
AT_LEAST = {"chat": 30, "completions": 24, "embeddings": 11, "models": 12, "moderations": 12}


@pytest.fixture(scope="module")
def suite() -> Path:
    """The suite, with a key that can be set, and limits of one token in the place of none."""
    root = source(VERSION)
    replace(root / "tests" / "conftest.py", r"(?m)^api_key = .*$", 'api_key = os.environ["TEST_API_KEY"]')
    replace(root / FILES["chat"], r"(max_(?:completion_)?tokens)=0", r"\1=1")  # OpenAI itself refuses 0
    return root


def replace(file: Path, pattern: str, by: str) -> None:
    file.write_text(re.sub(pattern, by, file.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_the_official_suite_passes(
    name: str, endpoint: Endpoint, suite: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    report = tmp_path / "report.xml"
    options = ("-o", "addopts=", "-k", OURS.get(name, "create"), FILES[name])
    command = pytest_command(python("openai", *NEEDS), report, *options)

    environ = {"TEST_API_BASE_URL": endpoint.url, "TEST_API_KEY": endpoint.key}

    found = cases(command, report, cwd=suite, environ=environ)

    expect(found, subtests, at_least=AT_LEAST.get(name, 6))
