"""Searches for the best settings of a recipe."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inhouse.client.http import Http
from inhouse.client.types import Study

_POLL_S = 0.5


class Studies:
    """Many trainings that look for good settings together."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def start(
        self,
        *,
        dataset: str,
        model: str,
        recipe: str = "classify",
        version: int | None = None,
        config: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        seed: int = 0,
        **budget: Any,
    ) -> Study:
        """Search with `trials`, `minutes`, `parallel`, `objective` and `pruner`; the space that suits the recipe by
        default. The best trial becomes a version of the model.
        """
        body = {"recipe": recipe, "dataset": dataset, "version": version, "model": model, "seed": seed, **budget}
        return self._http.post("studies", body={**body, "config": {**(config or {})}, "space": {**(space or {})}})

    def list(self) -> Sequence[Study]:
        """Newest first, without their trials."""
        return self._http.get("studies")["items"]

    def get(self, study_id: str) -> Study:
        return self._http.get("studies", study_id)

    def stop(self, study_id: str) -> Study:
        """Start nothing more, end what is training, and keep the best so far."""
        return self._http.post("studies", study_id, "stop")

    def wait(self, study_id: str, *, each: Callable[[Study], None] = lambda study: None) -> Study:
        """Wait for the end; `each` hears how it stands."""
        while True:
            study = self.get(study_id)
            each(study)
            if study["ended_at"] is not None:
                return study
            time.sleep(_POLL_S)
