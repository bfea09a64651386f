"""The examples of CONTRIBUTING.md work as they stand there: each goes into a copy of the source tree, its test too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, snippets

EXAMPLES = [snippet for snippet in snippets(ROOT / "CONTRIBUTING.md") if snippet.argument]
LAST_LINE_OF_ROUTERS = "\n    return routes\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree with every example where it belongs."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "console", "e2e"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    for example in EXAMPLES:
        path = tree / example.argument
        path.parent.mkdir(parents=True, exist_ok=True)
        if example.mark == "file":
            assert not path.exists(), f"{example.place}: {example.argument} exists already"
            path.write_text(example.code, encoding="utf-8")
        elif example.mark == "append":
            path.write_text(f"{path.read_text(encoding='utf-8')}\n{example.code}", encoding="utf-8")
        elif example.mark == "route":
            text = path.read_text(encoding="utf-8")
            assert text.count(LAST_LINE_OF_ROUTERS) == 1
            path.write_text(
                text.replace(LAST_LINE_OF_ROUTERS, f"\n{example.code}{LAST_LINE_OF_ROUTERS}"), encoding="utf-8"
            )
    return tree


def run(tree: Path, *arguments: str) -> None:
    environ = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=tree, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_examples_do_what_their_tests_say(tree: Path) -> None:
    tests = [example.argument for example in EXAMPLES if example.argument.startswith("tests/")]

    run(tree, "pytest", "--quiet", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *tests)


def test_the_examples_keep_the_style(tree: Path) -> None:
    changed = sorted({example.argument for example in EXAMPLES if example.language == "python"})

    run(tree, "ruff", "check", "--no-cache", *changed)
    run(tree, "ruff", "format", "--no-cache", "--check", *changed)
