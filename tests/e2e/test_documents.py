"""The snippets of the README and the guides that are marked `<!-- run -->` work against a server, in their order."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, Snippet, snippets

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
COMMANDS = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_the_snippets_run(document: Path, running_server: tuple[str, str], tmp_path: Path) -> None:
    url, key = running_server
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {**os.environ, "INHOUSE_URL": url, "INHOUSE_KEY": key, "PATH": programs}

    for snippet in marked(document):
        command = [*COMMANDS[snippet.language], snippet.code]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{snippet.place}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_document_has_snippets_that_run(document: Path) -> None:
    assert marked(document)


def marked(document: Path) -> list[Snippet]:
    return [snippet for snippet in snippets(document) if snippet.mark == "run"]
