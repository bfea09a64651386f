"""Train in child processes of this one, on this machine."""

import subprocess
import threading
from pathlib import Path

from inhouse.core.children import python, spawn
from inhouse.core.events import EventLog
from inhouse.training.child import FAILED, FINISHED, STOPPED
from inhouse.training.executor import TrainingInterrupted, executor
from inhouse.training.spec import EVENTS, LOG, SPEC, Spec

CHILD = "inhouse.training.child"
LIVES = 3


@executor("local")
class Local:
    """One child a run, or torchrun with one a process. A run that was killed, as for want of memory, lives again."""

    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()
        self._closing = threading.Event()

    def run(self, directory: Path, spec: Spec) -> int:
        code = FAILED
        for _ in range(LIVES):
            told = len(EventLog(directory / EVENTS).read())
            code = self._live(directory, spec.processes)
            last = [event["type"] for event in EventLog(directory / EVENTS).read(told)][-1:]
            if self._closing.is_set():
                raise TrainingInterrupted("The server is stopping.", hint="The run goes on when it is back.")
            if code == FINISHED and last == ["stopped"]:  # torchrun has no word for it
                return STOPPED
            was_killed = code < 0 or (spec.processes > 1 and code == FAILED and last != ["failed"])
            if not was_killed:
                break
        return code

    def close(self) -> None:
        self._closing.set()
        for child in list(self._children):
            child.kill()

    def _live(self, directory: Path, processes: int) -> int:
        with (directory / LOG).open("ab") as log:
            child = spawn(command(directory, processes), stdout=log, stderr=log)
        self._children.add(child)
        if self._closing.is_set():
            child.kill()
        code = child.wait()
        self._children.discard(child)
        return code


def command(directory: Path, processes: int) -> list[str]:
    """The command line that trains the run in a directory."""
    return python(CHILD, str(directory / SPEC)) if processes == 1 else together(directory, processes)


def together(directory: Path, processes: int) -> list[str]:
    """The same, as processes that torchrun joins."""
    how = ["--standalone", "--nproc-per-node", str(processes), "--module", CHILD]
    return python("torch.distributed.run", *how, str(directory / SPEC))
