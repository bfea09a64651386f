"""Trained models: their versions, and what is known of each."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inhouse.client.http import Http
from inhouse.client.types import (
    Comparison,
    Evaluation,
    EvaluationReport,
    EvaluationRows,
    Explanation,
    Lineage,
    Model,
    ModelSummary,
    ModelVersion,
    Prediction,
    Variant,
)

_POLL_S = 0.2


class Models:
    """Trained models."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[ModelSummary]:
        return self._http.get("models")["items"]

    def get(self, name: str) -> Model:
        return self._http.get("models", name)

    def version(self, name: str, number: int) -> ModelVersion:
        return self._http.get("models", name, "versions", number)

    def predict(
        self,
        name: str,
        inputs: Sequence[str | Mapping[str, Any]],
        *,
        version: int | None = None,
        top_k: int | None = None,
    ) -> Sequence[Prediction]:
        """What the model says of each input: a text, `{"text", "other"}` or `{"features"}`, as its kind reads."""
        body = {"inputs": [*inputs], "version": version, "top_k": top_k}
        return self._http.send("POST", name, body=body, root="/predict", is_repeatable=True)["predictions"]

    def card(self, name: str, number: int) -> str:
        """What the version is, what it learned from, how good it is and where its limits lie, as Markdown."""
        return self._http.get("models", name, "versions", number, "card")["markdown"]

    def lineage(self, name: str, number: int) -> Lineage:
        return self._http.get("models", name, "versions", number, "lineage")

    def annotate(
        self, name: str, number: int, *, note: str | None = None, is_protected: bool | None = None
    ) -> ModelVersion:
        """Write a note on a version, or protect it from deletion; None leaves what is there."""
        body = {"note": note, "is_protected": is_protected}
        return self._http.send("PATCH", "models", name, "versions", number, body=body)

    def delete(self, name: str, number: int) -> None:
        """Delete a version that is neither protected nor named by an alias nor answering."""
        self._http.send("DELETE", "models", name, "versions", number)

    def set_alias(self, name: str, alias: str, number: int) -> Mapping[str, int]:
        """Point an alias at a version; return all aliases."""
        return self._http.send("PUT", "models", name, "aliases", alias, body={"version": number})["aliases"]

    def remove_alias(self, name: str, alias: str) -> Mapping[str, int]:
        return self._http.send("DELETE", "models", name, "aliases", alias)["aliases"]

    def variants(self, name: str, number: int) -> Sequence[Variant]:
        """The formats that a version was exported to, with what was measured of each."""
        return self._http.get("models", name, "versions", number, "variants")["items"]

    def export(
        self,
        name: str,
        number: int,
        variants: Sequence[str] = (),
        *,
        dataset: str = "",
        dataset_version: int = 1,
        split: str = "test",
        max_loss: float | None = None,
    ) -> Sequence[Variant]:
        """Make variants (all by default), measure them, and wait; on the version's own test rows by default.

        A quantised one that loses more than `max_loss` points is refused.
        """
        rows = {"dataset": dataset, "version": dataset_version, "split": split}
        loss = {} if max_loss is None else {"max_loss": max_loss}
        self._http.post("models", name, "versions", number, "variants", body={"variants": [*variants], **rows, **loss})
        while True:
            found = self.variants(name, number)
            if all(one["status"] != "queued" for one in found):
                return found
            time.sleep(_POLL_S)

    def archive(self, name: str, number: int, *, variant: str = "", edge: bool = False) -> bytes:
        """The files of a version or variant as a zip; with `edge`, what runs without the platform."""
        path = ("models", name, "versions", number, "archive")
        return self._http.download(*path, variant=variant, edge="true" if edge else "")

    def evaluate(
        self, name: str, number: int, *, dataset: str = "", dataset_version: int = 1, split: str = "test"
    ) -> Evaluation:
        """Evaluate a version and wait; on its own test rows unless others are named."""
        body = {"dataset": dataset, "version": dataset_version, "split": split}
        found = self._http.post("models", name, "versions", number, "evaluations", body=body)
        while found["status"] == "queued":
            time.sleep(_POLL_S)
            found = self.evaluation(found["id"])
        return found

    def evaluations(self, name: str, number: int) -> Sequence[Evaluation]:
        """Newest first."""
        return self._http.get("models", name, "versions", number, "evaluations")["items"]

    def evaluation(self, evaluation_id: str) -> Evaluation:
        return self._http.get("evaluations", evaluation_id)

    def report(self, evaluation_id: str) -> EvaluationReport:
        """Per class, confusion matrix and reliability."""
        return self._http.get("evaluations", evaluation_id, "report")

    def rows(self, evaluation_id: str, *, limit: int = 50, offset: int = 0, **filters: object) -> EvaluationRows:
        """The rows of an evaluation, worst first, by `correct`, `known`, `golden`, `label`, `predicted`, `text`."""
        wanted = {name: str(value).lower() if isinstance(value, bool) else value for name, value in filters.items()}
        return self._http.get("evaluations", evaluation_id, "rows", limit=limit, offset=offset, **wanted)

    def explain(self, name: str, number: int, text: str, *, other: str = "", label: str = "") -> Explanation:
        """Which parts of a text speak for a label, by default the one that the version gives."""
        body = {"text": text, "other": other, "label": label}
        return self._http.send("POST", "models", name, "versions", number, "explain", body=body, is_repeatable=True)

    def compare(self, name: str, a: int, b: int) -> Comparison:
        """Version `a` minus version `b`, tested on the rows that both were evaluated on."""
        return self._http.get("models", name, "compare", a=a, b=b)

    def import_directory(self, name: str, path: str, *, kind: str = "", note: str = "") -> ModelVersion:
        """Register a directory on the server's machine, in the layout of Hugging Face."""
        return self._http.post("models", "import", body={"name": name, "path": path, "kind": kind, "note": note})

    def upload(self, name: str, file: Path, *, kind: str = "", note: str = "") -> ModelVersion:
        """The same from a zip or tar file of this machine."""
        form = {"name": name, "kind": kind, "note": note}
        return self._http.send("POST", "models", "upload", form=form, files=[("file", file)])
