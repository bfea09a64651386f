import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inhouse.knowledge.parser import Block, Unreadable
from inhouse.knowledge.sandbox import ParserCrashed, ParserTimedOut, Sandbox

HOSTILE = """
import os, signal, tempfile
from inhouse.knowledge.parser import Block, Parsed, parser

@parser("hostile", suffixes=(".evil",), recognises=lambda data: True)
def parse(data):
    if data == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if data == b"spin":
        while True: pass
    if data == b"sleep":
        signal.pause()
    if data == b"hoard":
        return [bytes(1 << 28) for _ in range(8)]
    if data == b"write":
        with tempfile.TemporaryFile(buffering=0) as file:
            file.write(b"loot")
    if data == b"raise":
        raise RuntimeError("bug")
    if data == b"print":
        print("noise" * 1000)
    return Parsed([Block(str(sorted(os.environ)) if data == b"environment" else str(os.getpid()))])
"""


@pytest.fixture
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """A sandbox whose child has a third party's misbehaving parser installed."""
    info = tmp_path / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[inhouse.parsers]\nhostile = hostile\n")
    (tmp_path / "hostile.py").write_text(HOSTILE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    opened: list[Sandbox] = []

    def start(**limits: float) -> Sandbox:
        opened.append(Sandbox(**{"memory_mb": 512, "cpu_s": 1, "wall_s": 10, **limits}))
        return opened[-1]

    yield start
    for sandbox in opened:
        sandbox.close()


def pid(sandbox: Sandbox) -> str:
    return sandbox.parse("a.evil", b"ok")[1].blocks[0].text


def test_a_document_comes_back_cleaned(sandbox: Sandbox) -> None:
    format, parsed = sandbox.parse("a.md", "# Ｔitle\u200b\n\ntext  here".encode())

    assert format == "markdown"
    assert parsed.blocks == [Block("Title", level=1), Block("text here")]


def test_the_child_stays_warm_and_survives_a_refusal(plugged: Callable[..., Sandbox]) -> None:
    sandbox = plugged()
    first = pid(sandbox)

    with pytest.raises(Unreadable, match="is empty"):
        sandbox.parse("a.pdf", b"")

    assert pid(sandbox) == first


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (b"crash", ParserCrashed, "SIGSEGV"),
        (b"hoard", Unreadable, "more memory"),
        (b"write", Unreadable, "cannot be read"),
        (b"raise", Unreadable, "RuntimeError: bug"),
        (b"spin", ParserTimedOut, "too long"),
    ],
)
def test_a_hostile_document_fails_alone(
    plugged: Callable[..., Sandbox], data: bytes, error: type[Exception], said: str
) -> None:
    sandbox = plugged()

    with pytest.raises(error, match=said):
        sandbox.parse("a.evil", data)

    assert sandbox.parse("b.txt", b"fine")[1].blocks == [Block("fine")]


def test_a_sleeping_parser_is_killed(plugged: Callable[..., Sandbox]) -> None:
    sandbox = plugged(wall_s=0.7)

    with pytest.raises(ParserTimedOut):
        sandbox.parse("a.evil", b"sleep")


def test_what_a_parser_prints_does_not_disturb(plugged: Callable[..., Sandbox]) -> None:
    sandbox = plugged()

    assert sandbox.parse("a.evil", b"print")[0] == "hostile"


def test_a_parser_sees_no_secrets(plugged: Callable[..., Sandbox], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHOUSE_SECRET", "x")

    assert "INHOUSE_SECRET" not in plugged().parse("a.evil", b"environment")[1].blocks[0].text


def test_a_child_killed_from_outside_is_replaced(plugged: Callable[..., Sandbox]) -> None:
    sandbox = plugged()
    first = pid(sandbox)

    os.kill(int(first), signal.SIGKILL)

    assert sandbox.parse("b.txt", b"fine")[1].blocks == [Block("fine")]


def test_the_server_imports_no_parsing_library() -> None:
    code = """
import sys, inhouse.knowledge.sandbox, inhouse.knowledge.search
print([name for name in ("pypdfium2", "docx", "lxml") if name in sys.modules])
"""

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
