"""Chat models on a GPU: vLLM, as a server of its own beside this one."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from inhouse.models.language.int4 import is_packed
from inhouse.serving.lm.checkpoint import Checkpoint, Kind
from inhouse.serving.lm.runtime import Plan, language_runtimes
from inhouse.serving.lm.vllm import Patience, VllmServer, has_gpu

_INSTALL = "Install vLLM where its command is on the PATH: pip install vllm (in an environment of its own)."


class VllmRuntime:
    """Starts one server for each model. `executable` is what stands before `serve DIR …`."""

    merges_adapters = False
    is_server = True

    def __init__(
        self, executable: Sequence[str] = (), *, needs_gpu: bool = True, patience: Patience = Patience()
    ) -> None:
        self._executable = tuple(executable)
        self._needs_gpu = needs_gpu
        self._patience = patience

    def missing(self) -> str:
        if self._needs_gpu and not has_gpu():
            return "It needs a machine with an NVIDIA GPU and its driver."
        return "" if self._found() else _INSTALL

    def serves(self, checkpoint: Checkpoint, kind: Kind) -> bool:
        return kind is Kind.CHAT and not is_packed(checkpoint.config)

    def load(self, plan: Plan) -> VllmServer:
        server = VllmServer(plan, executable=self._found(), patience=self._patience)
        server.start()
        return server

    def _found(self) -> tuple[str, ...]:
        if self._executable:
            return self._executable
        beside = Path(sys.executable).with_name("vllm")
        found = str(beside) if beside.exists() else shutil.which("vllm")
        return (found,) if found else ()


language_runtimes.add("vllm", VllmRuntime())
