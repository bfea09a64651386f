"""Datasets and knowledge bases."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from inhouse.client.http import File, Http
from inhouse.client.types import (
    AugmentedDataset,
    Augmenter,
    DataFormat,
    DataReport,
    Dataset,
    DatasetDiff,
    DatasetMix,
    DatasetVersion,
    Document,
    ErasedRows,
    Examples,
    Found,
    KnowledgeBase,
    Passage,
    Preview,
)
from inhouse.core.errors import TimedOut

Columns = Mapping[str, str | list[str]]
"""What a row is made of -> the column that has it."""

_POLL_S = 0.25
_DONE = ("ready", "failed")


class StillReading(TimedOut):
    """The documents are not all read yet."""


class Datasets:
    """Examples to train on, in immutable versions."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[DatasetVersion]:
        """The latest version of each dataset."""
        return self._http.get("datasets")["items"]

    def get(self, name: str) -> Dataset:
        return self._http.get("datasets", name)

    def formats(self) -> Sequence[DataFormat]:
        """What can be imported and exported."""
        return self._http.get("data", "formats")["items"]

    def augmenters(self) -> Sequence[Augmenter]:
        """The ways of making rows, with their settings."""
        return self._http.get("data", "augmenters")["items"]

    def preview(self, file: File, mapping: Columns | None = None, *, form: str = "", format: str = "") -> Preview:
        """Say what an import would bring; nothing is stored. Form and format are found out where not given."""
        fields = _import_form(mapping, form, format)
        return self._http.send("POST", "datasets", "preview", form=fields, files=[("file", file)], is_repeatable=True)

    def create(
        self,
        name: str,
        file: File,
        mapping: Columns | None = None,
        *,
        form: str = "",
        format: str = "",
        skip_bad_rows: bool = False,
    ) -> DatasetVersion:
        """Import a file as the first version: all rows or none."""
        fields = {"name": name, "skip_bad_rows": str(skip_bad_rows).lower(), **_import_form(mapping, form, format)}
        return self._http.send("POST", "datasets", form=fields, files=[("file", file)])

    def delete(self, name: str) -> None:
        """Delete a dataset that no model was trained on."""
        self._http.send("DELETE", "datasets", name)

    def add(
        self, name: str, examples: Iterable[Mapping[str, Any]], *, note: str = "", parent: int | None = None
    ) -> DatasetVersion:
        """Make the next version by adding rows to train on; on top of the newest by default.

        A row is `{"text", "label"}`, or what else the dataset's form has in `content`.
        """
        body = {"examples": [*examples], "note": note, "parent": parent}
        return self._http.post("datasets", name, "versions", body=body)

    def examples(
        self,
        name: str,
        version: int,
        *,
        split: str = "",
        label: str = "",
        search: str = "",
        source: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> Examples:
        path = ("datasets", name, "versions", version, "examples")
        chosen = {"split": split, "label": label, "search": search, "source": source}
        return self._http.get(*path, **chosen, limit=limit, offset=offset)

    def export(self, name: str, version: int, *, format: str = "jsonl", split: str = "") -> bytes:
        """The rows as a file, such as `csv`, `parquet`, `alpaca` or `label-studio`."""
        return self._http.download("datasets", name, "versions", version, "export", format=format, split=split)

    def report(self, name: str, version: int, *, threshold: float = 0.8) -> DataReport:
        """Balance, lengths, duplicates, leaks and conflicts of a version."""
        return self._http.get("datasets", name, "versions", version, "report", threshold=threshold)

    def diff(self, name: str, old: int, new: int, *, kind: str = "", limit: int = 100, offset: int = 0) -> DatasetDiff:
        """Rows added, removed and changed from one version to another."""
        params = {"from": old, "to": new, "kind": kind, "limit": limit, "offset": offset}
        return self._http.send("GET", "datasets", name, "diff", params=params)

    def filter(self, name: str, *, version: int | None = None, note: str = "", **conditions: object) -> DatasetVersion:
        """Make the next version with the rows that meet every condition.

        Conditions: `labels`, `without_labels`, `splits`, `sources`, `synthetic`, `search`, `min_length`, `max_length`.
        """
        body = {"filter": conditions, "version": version, "note": note}
        return self._http.post("datasets", name, "filter", body=body)

    def edit(
        self, name: str, edits: Iterable[Mapping[str, Any]], *, version: int | None = None, note: str = ""
    ) -> DatasetVersion:
        """Make the next version with rows changed: `{"id", "label"?, "text"?, "content"?, "remove"?}`."""
        return self._http.post("datasets", name, "edit", body={"edits": [*edits], "version": version, "note": note})

    def mix(
        self, name: str, shares: Mapping[str, float], *, size: int | None = None, seed: int = 0, note: str = ""
    ) -> DatasetMix:
        """Make a dataset of others by ratio: `{"base": 0.7, "domain@v2": 0.2, "adversarial": 0.1}`."""
        parts = [{**_reference(reference), "share": share} for reference, share in shares.items()]
        body = {"name": name, "parts": parts, "size": size, "seed": seed, "note": note}
        return self._http.post("datasets", "mix", body=body)

    def augment(
        self,
        name: str,
        how: str,
        *,
        count: int,
        version: int | None = None,
        seed: int = 0,
        note: str = "",
        **settings: object,
    ) -> AugmentedDataset:
        """Make the next version with new training rows, marked as synthetic: `typo`, `template`, `paraphrase`."""
        body = {"how": how, "settings": settings, "count": count, "version": version, "seed": seed, "note": note}
        return self._http.post("datasets", name, "augment", body=body)

    def erase(self, user: str) -> ErasedRows:
        """Take every row of a user out of every version of every dataset."""
        return self._http.post("datasets", "erase", body={"user": user})


def _import_form(mapping: Columns | None, form: str, format: str) -> dict[str, str]:
    given = {"mapping": json.dumps(mapping) if mapping else "", "form": form, "format": format}
    return {name: value for name, value in given.items() if value}


def _reference(reference: str) -> dict[str, Any]:
    """`domain@v2` -> that version, `domain` -> the newest."""
    name, _, number = reference.rpartition("@v")
    return {"dataset": name, "version": int(number)} if name and number.isdigit() else {"dataset": reference}


class Knowledge:
    """Documents to answer from."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> Sequence[KnowledgeBase]:
        return self._http.get("knowledge")["items"]

    def create(self, name: str, description: str = "") -> KnowledgeBase:
        return self._http.post("knowledge", body={"name": name, "description": description})

    def get(self, name: str) -> KnowledgeBase:
        return self._http.get("knowledge", name)

    def upload(self, name: str, *files: File) -> Sequence[Document]:
        """Hand documents in. They are read one by one in the background: see `wait`."""
        parts = [("files", file) for file in files]
        return self._http.send("POST", "knowledge", name, "documents", files=parts)["items"]

    def documents(self, name: str) -> Sequence[Document]:
        return self._http.get("knowledge", name, "documents")["items"]

    def delete_document(self, name: str, document_id: str) -> None:
        self._http.send("DELETE", "knowledge", name, "documents", document_id)

    def retry(self, name: str, document_id: str) -> Document:
        """Read a document again that failed."""
        return self._http.post("knowledge", name, "documents", document_id, "retry")

    def wait(
        self,
        name: str,
        *,
        timeout_s: float = 600.0,
        each: Callable[[Sequence[Document]], None] = lambda documents: None,
    ) -> Sequence[Document]:
        """Wait until every document is ready or failed; `each` hears how things stand meanwhile."""
        until = time.monotonic() + timeout_s
        while True:
            documents = self.documents(name)
            each(documents)
            left = [document for document in documents if document["status"] not in _DONE]
            if not left:
                return documents
            if time.monotonic() > until:
                raise StillReading(
                    f"{len(left)} documents of {name!r} are not read yet after {timeout_s:g} s.",
                    hint="Wait longer, or look at their status.",
                )
            time.sleep(_POLL_S)

    def search(self, name: str, query: str, *, top_k: int = 4) -> Found:
        return self._http.get("knowledge", name, "search", query=query, top_k=top_k)

    def passage(self, chunk_id: str) -> Passage:
        """A passage with what stands around it."""
        return self._http.get("passages", chunk_id)
