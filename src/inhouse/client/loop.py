"""The loop from feedback to the next model version."""

from collections.abc import Sequence

from inhouse.client.http import Http
from inhouse.client.types import Feedback, LoopState, NewDataset, Release, Run, Verdict


class Inbox:
    """Feedback for review. It is given in `apps.feedback` and decided on in `loop`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self, status: str = "open") -> Sequence[Feedback]:
        """The most useful first; `status` is open, accepted or rejected."""
        return self._http.get("feedback", status=status)["items"]


class Loop:
    """From feedback to a judged candidate."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def state(self) -> LoopState:
        """Counts of every stage, and the one thing to do next."""
        return self._http.get("loop")

    def accept(self, feedback_id: str, label: str | None = None) -> Feedback:
        """Make a correction a golden case and training data; without a label the user's word counts."""
        return self._http.post("feedback", feedback_id, "accept", body={"label": label})

    def reject(self, feedback_id: str) -> Feedback:
        return self._http.post("feedback", feedback_id, "reject")

    def dataset(self, model: str) -> NewDataset:
        """Make a dataset version of the accepted corrections."""
        return self._http.post("loop", "datasets", body={"model": model})

    def retrain(self, model: str) -> Run:
        """Train the model again on the newest dataset version."""
        return self._http.post("loop", "retrain", body={"model": model})

    def gate(self, model: str, candidate: int) -> Verdict:
        """Compare a version with the live one and judge it."""
        return self._http.post("loop", "gate", body={"model": model, "candidate": candidate})

    def verdicts(self) -> Sequence[Verdict]:
        return self._http.get("verdicts")["items"]


class Releases:
    """Candidates on their way to live."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[Release]:
        return self._http.get("releases")["items"]

    def start(self, model: str, version: int, *, share: float = 0.2) -> Release:
        """Give an approved version a share of the traffic."""
        return self._http.post("releases", body={"model": model, "version": version, "share": share})

    def promote(self, release_id: str) -> Release:
        return self._http.post("releases", release_id, "promote")

    def rollback(self, release_id: str, *, reason: str = "") -> Release:
        return self._http.post("releases", release_id, "rollback", body={"reason": reason})
