"""The language models that the server runs itself."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from inhouse.client.http import Http
from inhouse.client.types import LanguageModel, LanguageRuntime

_POLL_S = 0.5


class LanguageModels:
    """Model directories on the server's machine, by the names that requests use."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[LanguageModel]:
        return self._http.get("language-models")["items"]

    def get(self, name: str) -> LanguageModel:
        return self._http.get("language-models", name)

    def runtimes(self) -> Sequence[LanguageRuntime]:
        """What the server can run models with, and what is missing for the others."""
        return self._http.get("language-models")["runtimes"]

    def load(
        self, name: str, path: str, *, adapters: Mapping[str, str] | None = None, wait: bool = True, **settings: Any
    ) -> LanguageModel:
        """Take a model directory up under a name. `settings` are runtime, kind, dtype, max_batch, kv_tokens, idle_s.

        With `wait` it returns when the model is loaded, or failed to load.
        """
        body = {"name": name, "path": path, "adapters": {**(adapters or {})}, **settings}
        model: LanguageModel = self._http.post("language-models", body=body)
        while wait and model["state"] == "loading":
            time.sleep(_POLL_S)
            model = self.get(name)
        return model

    def unload(self, name: str) -> None:
        self._http.send("DELETE", "language-models", name)

    def add_adapter(self, model: str, name: str, path: str) -> LanguageModel:
        """Add a LoRA adapter, or a new version of one. Requests ask for `model:name`."""
        return self._http.post("language-models", model, "adapters", body={"name": name, "path": path})

    def remove_adapter(self, model: str, name: str) -> None:
        self._http.send("DELETE", "language-models", model, "adapters", name)
