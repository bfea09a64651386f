"""Child processes that work on versions, one task each."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from inhouse.core.children import python, spawn
from inhouse.core.errors import Invalid, Unavailable
from inhouse.training.versions.child import ANSWER

_LOG = "child.log"


class WorkFailed(Invalid):
    """The work on a version could not be done; the message says why."""


class WorkInterrupted(Unavailable):
    """The work ended early: the process was killed, or the server is stopping."""


class Workers:
    """Runs tasks in processes of their own, each on the calling thread."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closing = threading.Event()

    def run(self, desk: Path, **work: Any) -> dict[str, Any]:
        """Let a child do the work at a desk, and return its answer."""
        (desk / ANSWER).unlink(missing_ok=True)
        path = desk / "work.json"
        path.write_text(json.dumps(work, ensure_ascii=False), encoding="utf-8")
        code = self._wait(desk, path)
        try:
            answer = json.loads((desk / ANSWER).read_bytes())
        except (OSError, ValueError) as error:
            reason = "The server is stopping." if self._closing.is_set() else f"Its process ended with code {code}."
            raise WorkInterrupted(reason, hint="Ask for it again; it may want more memory.") from error
        if failed := answer.get("failed"):
            raise WorkFailed(failed["message"], hint=failed["hint"])
        return answer["done"]

    def close(self) -> None:
        """End what is under way."""
        self._closing.set()
        for child in list(self._children):
            child.kill()

    def _wait(self, desk: Path, path: Path) -> int:
        with (desk / _LOG).open("ab") as log:
            child = spawn(python("inhouse.training.versions.child", str(path)), stdout=log, stderr=log)
        self._children.add(child)
        try:
            if self._closing.is_set():
                child.kill()
            return child.wait()
        finally:
            self._children.discard(child)
