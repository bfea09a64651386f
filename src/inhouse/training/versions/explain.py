"""A process beside the server that explains answers: it keeps a few networks open, and leaves when nobody asks."""

import json
import queue
import subprocess
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.core.children import python, spawn
from inhouse.core.errors import InhouseError, Invalid, LimitExceeded, TimedOut, Unavailable

if TYPE_CHECKING:
    from inhouse.training.networks.open import Opened

KEPT = 2
"""Networks that stay open."""
MAX_CHARS = 4000
_WAITING = 16
_IDLE_S = 120.0
_TIMEOUT_S = 60.0

Asked = tuple[dict[str, Any], "Future[dict[str, Any]]"]


class NotExplained(Invalid):
    """The answer cannot be explained; the message says why."""


class ExplainerBusy(LimitExceeded):
    """Too many explanations are waiting."""


class ExplainerLate(TimedOut):
    """The explanation took too long."""


class ExplainerGone(Unavailable):
    """The process that explains has ended."""


class Explainer:
    """Hands questions to the process, one at a time.

    A thread of its own starts the process and waits for it: the kernel ends a child with the thread that started it.
    """

    def __init__(self) -> None:
        self._asked: queue.Queue[Asked | None] = queue.Queue(_WAITING)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def explain(self, directory: Path, text: str, *, other: str = "", label: str = "") -> dict[str, Any]:
        """Explain one answer of the version in a directory."""
        question = {"directory": str(directory), "text": text[:MAX_CHARS], "other": other[:MAX_CHARS], "label": label}
        answer: Future[dict[str, Any]] = Future()
        self._wake()
        try:
            self._asked.put_nowait((question, answer))
        except queue.Full as error:
            raise ExplainerBusy("Too many explanations are waiting.", hint="Ask again in a moment.") from error
        try:
            found = answer.result(_TIMEOUT_S)
        except TimeoutError as error:
            self._kill()
            raise ExplainerLate("The explanation took too long.", hint="Try a shorter text.") from error
        if failed := found.get("failed"):
            raise NotExplained(failed["message"], hint=failed["hint"])
        return found["done"]

    def close(self) -> None:
        self._is_closed = True
        self._kill()
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._asked.put(None)
            thread.join()

    def _wake(self) -> None:
        with self._starting:
            if self._is_closed:
                raise ExplainerGone("The server is stopping.")
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="explainer", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                item = self._asked.get(timeout=_IDLE_S)
            except queue.Empty:
                self._leave()
                continue
            if item is None:
                self._leave()
                return
            question, answer = item
            try:
                answer.set_result(self._ask(question))
            except (OSError, ValueError) as error:
                self._leave()
                gone = ExplainerGone("The process that explains has ended.", hint="Ask again; it may want memory.")
                gone.__cause__ = error
                answer.set_exception(gone)

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        child = self._child
        if child is None or child.poll() is not None:
            self._leave()
            command = python("inhouse.training.versions.explain")
            child = self._child = spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(question).encode() + b"\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    def _leave(self) -> None:
        """Let go of the process, whatever state it is in."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    def _kill(self) -> None:
        child = self._child
        if child is not None:
            child.kill()


def main() -> None:
    """The process: a question a line on stdin, an answer a line on stdout."""
    import torch

    torch.set_num_threads(1)
    networks: OrderedDict[str, Opened] = OrderedDict()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answer(networks, json.loads(line))) + "\n")
        sys.stdout.flush()


def _answer(networks: "OrderedDict[str, Opened]", question: dict[str, Any]) -> dict[str, Any]:
    from inhouse.training.explain import explain
    from inhouse.training.networks.open import open_network

    directory = question["directory"]
    try:
        if directory not in networks:
            while len(networks) >= KEPT:
                networks.popitem(last=False)
            networks[directory] = open_network(Path(directory))
        networks.move_to_end(directory)
        found = explain(networks[directory], question["text"], other=question["other"], label=question["label"])
    except InhouseError as error:
        return {"failed": {"message": error.message, "hint": error.hint}}
    except Exception as error:  # the edge of a question: the process goes on
        return {"failed": {"message": f"{type(error).__name__}: {error}", "hint": ""}}
    return {"done": found.wire()}


if __name__ == "__main__":
    main()
