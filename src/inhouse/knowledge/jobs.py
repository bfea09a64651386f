"""The durable job that takes one document in: parse, split, store, index."""

import time
from pathlib import PurePath

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import InhouseError
from inhouse.core.jobs import JobContext, JsonDict
from inhouse.core.principal import Principal
from inhouse.knowledge import store
from inhouse.knowledge.parser import Parsed, Unreadable
from inhouse.knowledge.sandbox import Sandbox
from inhouse.knowledge.search import Searcher
from inhouse.knowledge.splitter import split
from inhouse.knowledge.store import Document

INGEST = "knowledge.ingest"


def job_id(document: Document) -> str:
    """One job per attempt, however often it is submitted."""
    return f"{document.id}.{document.attempt}"


class Ingestion:
    """Every stage can run again after a crash: nothing is visible before the last one commits."""

    def __init__(self, db: Database, blobs: Blobs, sandbox: Sandbox, searcher: Searcher) -> None:
        self._db = db
        self._blobs = blobs
        self._sandbox = sandbox
        self._searcher = searcher

    def run(self, _context: JobContext, arguments: JsonDict) -> JsonDict | None:
        principal = Principal.system(arguments["workspace_id"])
        with self._db.read() as conn:
            document = store.find_document(conn, principal, arguments["document_id"])
        if document is None or document.attempt != arguments["attempt"] or document.status == "ready":
            return None  # deleted or uploaded anew meanwhile, or finished before a crash
        try:
            chunks = self._ingest(principal, document)
        except InhouseError as error:
            self._mark(principal, document, "failed", error=f"{error.message} {error.hint}".strip())
            raise
        except Exception:
            self._mark(principal, document, "failed", error="It failed unexpectedly; see the server's log.")
            raise
        return {"chunks": chunks}

    def _ingest(self, principal: Principal, document: Document) -> int:
        started = time.monotonic()
        self._mark(principal, document, "parsing")
        format, parsed = self._sandbox.parse(document.name, self._blobs.get(document.digest))
        self._mark(principal, document, "indexing")
        drafts = split(parsed.blocks)
        if not drafts:
            raise Unreadable(f"{document.name!r} holds no text.", hint="Upload the document that has the text.")
        facts = {
            "format": format,
            "title": _title(parsed, document.name),
            "pages": parsed.pages,
            "seconds": round(time.monotonic() - started, 3),
        }
        with self._db.write() as conn:
            store.finish_document(conn, principal, document, drafts, **facts)
        self._warm(principal, document.base_id)
        return len(drafts)

    def _mark(self, principal: Principal, document: Document, status: str, *, error: str = "") -> None:
        with self._db.write() as conn:
            store.mark_document(conn, principal, document.id, document.attempt, status, error=error)

    def _warm(self, principal: Principal, base_id: str) -> None:
        """Index the new passages now, so that the next question need not wait for it."""
        with self._db.read() as conn:
            base = store.find_base_by_id(conn, principal, base_id)
        if base is not None:
            self._searcher.index(base)


def _title(parsed: Parsed, name: str) -> str:
    """What the document calls itself: properties often hold a template's name, so its first heading comes first."""
    heading = next((block.text for block in parsed.blocks if block.level == 1), "")
    return heading or parsed.title or PurePath(name).stem
