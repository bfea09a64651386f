"""Knowledge bases: documents in, passages with page numbers out."""

import asyncio
from collections.abc import Sequence
from pathlib import PurePath

from sqlalchemy import Connection

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.errors import Conflict, Invalid, NotFound, TooLarge
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.knowledge import store
from inhouse.knowledge.clean import clean
from inhouse.knowledge.jobs import INGEST, Ingestion, job_id
from inhouse.knowledge.refuse import DEFAULT_THRESHOLD
from inhouse.knowledge.sandbox import Sandbox
from inhouse.knowledge.search import Passage, Searcher, SearchResult
from inhouse.knowledge.store import Document, KnowledgeBase
from inhouse.knowledge.tokens import segmenter

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
MAX_NAME_CHARS = 200


class KnowledgeBaseNotFound(NotFound):
    """No knowledge base has that name."""


class DocumentNotFound(NotFound):
    """No document has that id."""


class PassageNotFound(NotFound):
    """No passage has that id; its document may have been deleted or replaced."""


class KnowledgeBaseExists(Conflict):
    """The name is taken."""


class DocumentNotFailed(Conflict):
    """Only failed documents can be tried again."""


class BadName(Invalid):
    """A name that cannot be used."""


class DocumentTooLarge(TooLarge):
    """The file is over the size limit."""


class KnowledgeBases:
    """The room's facade. Methods block, except `search`; call them from threads."""

    def __init__(self, db: Database, blobs: Blobs, jobs: Jobs, sandbox: Sandbox) -> None:
        self._db = db
        self._blobs = blobs
        self._jobs = jobs
        self._searcher = Searcher(db)
        jobs.register(INGEST, Ingestion(db, blobs, sandbox, self._searcher).run)

    def recover(self) -> None:
        """Submit documents that a crash caught between being stored and being queued. Call it once after launch."""
        with self._db.read() as conn:
            unfinished = store.list_unfinished(conn)
        for workspace_id, document in unfinished:
            self._submit(workspace_id, document)

    def warm(self) -> None:
        """Load what the first search would otherwise wait for: the dictionary, and the default workspace's indexes."""
        segmenter()
        for base, _ in self.list(Principal.system()):
            self._searcher.index(base)

    def create(self, principal: Principal, name: str, description: str = "") -> KnowledgeBase:
        name = _checked_name(name)
        with self._db.write() as conn:
            if store.find_base(conn, principal, name) is not None:
                raise KnowledgeBaseExists(
                    f"There is already a knowledge base named {name!r}.", hint="Choose another name."
                )
            return store.insert_base(conn, principal, name=name, description=description, threshold=DEFAULT_THRESHOLD)

    def list(self, principal: Principal) -> list[tuple[KnowledgeBase, dict[str, int]]]:
        """Return every base, each with how many documents it has in each status."""
        with self._db.read() as conn:
            counts = store.count_documents(conn, principal)
            return [(base, counts.get(base.id, {})) for base in store.list_bases(conn, principal)]

    def get(self, principal: Principal, name: str) -> tuple[KnowledgeBase, dict[str, int]]:
        with self._db.read() as conn:
            base = _base(conn, principal, name)
            return base, store.count_documents(conn, principal).get(base.id, {})

    def add(self, principal: Principal, base_name: str, filename: str, data: bytes) -> Document:
        """Store a file and queue it. A file of the same name is replaced; until the new version is in, and if it
        cannot be read, the old one stays searchable. The same content again changes nothing."""
        name = _checked_name(PurePath(filename.replace("\\", "/")).name)
        if len(data) > MAX_DOCUMENT_BYTES:
            raise DocumentTooLarge(
                f"{name!r} has {len(data) >> 20} MB; at most {MAX_DOCUMENT_BYTES >> 20} MB are taken.", hint="Split it."
            )
        with self._db.read() as conn:
            _base(conn, principal, base_name)
        digest = self._blobs.put(data)
        with self._db.write() as conn:
            base = _base(conn, principal, base_name)
            known = store.find_document_by_name(conn, principal, base.id, name)
            if known is None:
                document = store.insert_document(
                    conn, principal, base_id=base.id, name=name, digest=digest, size=len(data)
                )
            elif known.digest == digest and known.status != "failed":
                return known
            else:
                document = store.requeue_document(conn, principal, known, digest=digest, size=len(data))
        self._submit(principal.workspace_id, document)
        return document

    def documents(self, principal: Principal, base_name: str) -> Sequence[Document]:
        with self._db.read() as conn:
            return store.list_documents(conn, principal, _base(conn, principal, base_name).id)

    def document(self, principal: Principal, base_name: str, document_id: str) -> Document:
        with self._db.read() as conn:
            return _document(conn, principal, base_name, document_id)

    def delete(self, principal: Principal, base_name: str, document_id: str) -> None:
        """Take a document out: from this moment no search finds it."""
        with self._db.write() as conn:
            store.delete_document(conn, principal, _document(conn, principal, base_name, document_id))

    def retry(self, principal: Principal, base_name: str, document_id: str) -> Document:
        with self._db.write() as conn:
            document = _document(conn, principal, base_name, document_id)
            if document.status != "failed":
                raise DocumentNotFailed(
                    f"{document.name!r} is {document.status}.", hint="Only failed documents can be tried again."
                )
            document = store.requeue_document(conn, principal, document, digest=document.digest, size=document.size)
        self._submit(principal.workspace_id, document)
        return document

    async def search(self, principal: Principal, query: str, bases: Sequence[str], top_k: int = 4) -> SearchResult:
        """Return the passages of these bases that fit the query best."""
        return await asyncio.to_thread(self._search, principal, query, bases, top_k)

    def passage(self, principal: Principal, chunk_id: str) -> tuple[Passage, str, str]:
        """Return one passage with the text before and after it."""
        with self._db.read() as conn:
            found = store.find_passages(conn, principal, [chunk_id]).get(chunk_id)
            if found is None:
                raise PassageNotFound(
                    f"There is no passage {chunk_id!r}.",
                    hint="Its document was deleted or replaced by a new version.",
                )
            chunk, document, title = found
            before, after = store.neighbour_texts(conn, chunk)
        return Passage.of(chunk, document, title, score=1.0), before, after

    def _search(self, principal: Principal, query: str, names: Sequence[str], top_k: int) -> SearchResult:
        with self._db.read() as conn:
            bases = [_base(conn, principal, name) for name in dict.fromkeys(names)]
        return self._searcher.search(principal, query, bases, top_k)

    def _submit(self, workspace_id: str, document: Document) -> None:
        arguments = {"workspace_id": workspace_id, "document_id": document.id, "attempt": document.attempt}
        self._jobs.submit(INGEST, arguments, job_id=job_id(document))


def _base(conn: Connection, principal: Principal, name: str) -> KnowledgeBase:
    base = store.find_base(conn, principal, name)
    if base is None:
        known = ", ".join(base.name for base in store.list_bases(conn, principal)) or "none yet"
        raise KnowledgeBaseNotFound(f"There is no knowledge base named {name!r}.", hint=f"Known: {known}.")
    return base


def _document(conn: Connection, principal: Principal, base_name: str, document_id: str) -> Document:
    base = _base(conn, principal, base_name)
    document = store.find_document(conn, principal, document_id)
    if document is None or document.base_id != base.id:
        raise DocumentNotFound(f"There is no document {document_id!r} in {base_name!r}.")
    return document


def _checked_name(name: str) -> str:
    """Clean a name of control and direction characters, which could dress one file up as another."""
    cleaned = " ".join(clean(name).split())
    if not cleaned or len(cleaned) > MAX_NAME_CHARS or "/" in cleaned:
        raise BadName(
            f"{name[:MAX_NAME_CHARS]!r} cannot be a name.", hint=f"Use 1 to {MAX_NAME_CHARS} characters, without '/'."
        )
    return cleaned
