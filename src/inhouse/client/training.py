"""Training runs, and the traffic of what they made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from inhouse.client.curve import Curve
from inhouse.client.http import Http
from inhouse.client.types import Deployment, Recipe, Run, RunComparison


class Runs:
    """Trainings in the background."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def recipes(self) -> Sequence[Recipe]:
        """What can be trained, with the settings of each recipe."""
        return self._http.get("recipes")["items"]

    def start(
        self,
        *,
        dataset: str,
        model: str,
        recipe: str = "classify",
        version: int | None = None,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        processes: int = 1,
    ) -> Run:
        """Train a new version of a model; on the latest version of the dataset unless one is named.

        Several `processes` share each batch.
        """
        body = {
            "recipe": recipe,
            "dataset": dataset,
            "version": version,
            "model": model,
            "config": {**(config or {})},
            "seed": seed,
            "processes": processes,
        }
        return self._http.post("runs", body=body)

    def list(self, *, limit: int = 100) -> Sequence[Run]:
        return self._http.get("runs", limit=limit)["items"]

    def get(self, run_id: str) -> Run:
        return self._http.get("runs", run_id)

    def events(self, run_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Replay what the run told, then follow it until it ends."""
        for event in self._http.stream("GET", "runs", run_id, "events", params={"after": after}):
            if event.name != "end":
                yield event.data

    def past_events(self, run_id: str, *, after: int = 0) -> Sequence[dict[str, Any]]:
        """What the run has told so far."""
        return self._http.get("runs", run_id, "events", after=after)["items"]

    def wait(self, run_id: str, *, each: Callable[[dict[str, Any]], None] = lambda event: None) -> Run:
        """Follow a run to its end; `each` hears its events."""
        for event in self.events(run_id):
            each(event)
        return self.get(run_id)

    def stop(self, run_id: str) -> Run:
        """Save and stop; it can be resumed."""
        return self._http.post("runs", run_id, "stop")

    def resume(self, run_id: str) -> Run:
        """Let a stopped or failed run go on from its newest checkpoint."""
        return self._http.post("runs", run_id, "resume")

    def compare(self, *run_ids: str) -> RunComparison:
        """Put runs side by side: settings, metrics and curves."""
        return self._http.get("runs", "compare", ids=",".join(run_ids))

    def curve(self, run_id: str) -> Curve:
        """The run's learning curve, as a notebook shows it: `client.runs.curve(run["id"]).follow()`."""
        return Curve(self, run_id)


class Deployments:
    """Which versions answer."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[Deployment]:
        return self._http.get("deployments")["items"]

    def set(self, model: str, weights: Mapping[int, float], *, note: str = "") -> Deployment:
        """Share a model's traffic between its versions."""
        body = {"weights": {str(version): weight for version, weight in weights.items()}, "note": note}
        return self._http.send("PUT", "deployments", model, body=body)
