"""Datasets and knowledge bases."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from inhouse.client.http import File, Http
from inhouse.client.types import (
    Dataset,
    DatasetVersion,
    Document,
    Examples,
    Found,
    KnowledgeBase,
    Passage,
    Preview,
)
from inhouse.core.errors import TimedOut

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

    def preview(self, file: File, mapping: Mapping[str, str] | None = None) -> Preview:
        """Say what an import would bring; nothing is stored."""
        form = {"mapping": json.dumps(mapping)} if mapping else {}
        return self._http.send("POST", "datasets", "preview", form=form, files=[("file", file)], is_repeatable=True)

    def create(
        self, name: str, file: File, mapping: Mapping[str, str] | None = None, *, skip_bad_rows: bool = False
    ) -> DatasetVersion:
        """Import a file as the first version: all rows or none."""
        form = {"name": name, "skip_bad_rows": str(skip_bad_rows).lower()}
        if mapping:
            form["mapping"] = json.dumps(mapping)
        return self._http.send("POST", "datasets", form=form, files=[("file", file)])

    def add(
        self, name: str, examples: Iterable[Mapping[str, str]], *, note: str = "", parent: int | None = None
    ) -> DatasetVersion:
        """Make the next version by adding rows, `{"text", "label"}`, to train on; on top of the newest by default."""
        body = {"examples": [*examples], "note": note, "parent": parent}
        return self._http.post("datasets", name, "versions", body=body)

    def examples(
        self, name: str, version: int, *, split: str = "", label: str = "", limit: int = 100, offset: int = 0
    ) -> Examples:
        path = ("datasets", name, "versions", version, "examples")
        return self._http.get(*path, split=split, label=label, limit=limit, offset=offset)


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
