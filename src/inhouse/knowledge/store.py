"""SQL of the knowledge room: bases, their documents, and the passages (chunks) that were cut from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
    update,
)
from sqlalchemy import delete as sql_delete

from inhouse.core.db import Json, owned
from inhouse.core.ids import new_id, now
from inhouse.core.principal import Principal
from inhouse.knowledge.splitter import Draft

UNFINISHED = ("queued", "parsing", "indexing")

bases = owned(
    "knowledge_bases",
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("description", Text, nullable=False),
    Column("threshold", Float, nullable=False),
    Column("generation", Integer, nullable=False),
    UniqueConstraint("workspace_id", "name"),
)

documents = owned(
    "knowledge_documents",
    Column("id", String(64), primary_key=True),
    Column("base_id", String(64), ForeignKey("knowledge_bases.id"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("size", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("error", Text, nullable=False),
    Column("format", String(32), nullable=False),
    Column("title", Text, nullable=False),
    Column("pages", Integer),
    Column("chunks", Integer, nullable=False),
    Column("seconds", Float),
    Column("generation", Integer, nullable=False),
    UniqueConstraint("base_id", "name"),
)

chunks = owned(
    "knowledge_chunks",
    Column("id", String(64), primary_key=True),
    Column("document_id", String(64), ForeignKey("knowledge_documents.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("heading", Json, nullable=False),
    Column("page", Integer),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Index(None, "document_id", "seq"),
)


@dataclass(frozen=True, slots=True)
class KnowledgeBase:
    """A named set of documents that is searched as one. `generation` grows with every change of its passages."""

    id: str
    owner_id: str
    created_at: float
    name: str
    description: str
    threshold: float
    generation: int


@dataclass(frozen=True, slots=True)
class Document:
    """A file in a base. `status` is queued, parsing, indexing, ready or failed (then `error` says why)."""

    id: str
    owner_id: str
    created_at: float
    base_id: str
    name: str
    digest: str
    size: int
    attempt: int
    status: str
    error: str
    format: str
    title: str
    pages: int | None
    chunks: int
    seconds: float | None
    generation: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: one heading path, one page, and its place in the document's text."""

    id: str
    document_id: str
    seq: int
    text: str
    heading: tuple[str, ...]
    page: int | None
    start: int
    end: int


def insert_base(
    conn: Connection, principal: Principal, *, name: str, description: str, threshold: float
) -> KnowledgeBase:
    values = {"name": name, "description": description, "threshold": threshold, "generation": 0}
    row = {"id": new_id("kb"), "owner_id": principal.user_id, "created_at": now(), **values}
    conn.execute(bases.insert().values(workspace_id=principal.workspace_id, **row))
    return KnowledgeBase(**row)


def find_base(conn: Connection, principal: Principal, name: str) -> KnowledgeBase | None:
    return _one_base(conn, principal, bases.c.name == name)


def find_base_by_id(conn: Connection, principal: Principal, base_id: str) -> KnowledgeBase | None:
    return _one_base(conn, principal, bases.c.id == base_id)


def list_bases(conn: Connection, principal: Principal) -> list[KnowledgeBase]:
    query = select(*_columns(bases)).where(bases.c.workspace_id == principal.workspace_id)
    return [KnowledgeBase(**row) for row in conn.execute(query.order_by(bases.c.id.desc())).mappings()]


def insert_document(
    conn: Connection, principal: Principal, *, base_id: str, name: str, digest: str, size: int
) -> Document:
    row = {
        "id": new_id("doc"),
        "owner_id": principal.user_id,
        "created_at": now(),
        "base_id": base_id,
        "name": name,
        "digest": digest,
        "size": size,
        "attempt": 1,
        "status": "queued",
        "error": "",
        "format": "",
        "title": "",
        "pages": None,
        "chunks": 0,
        "seconds": None,
        "generation": 0,
    }
    conn.execute(documents.insert().values(workspace_id=principal.workspace_id, **row))
    return Document(**row)


def find_document(conn: Connection, principal: Principal, document_id: str) -> Document | None:
    return _one_document(conn, principal, documents.c.id == document_id)


def find_document_by_name(conn: Connection, principal: Principal, base_id: str, name: str) -> Document | None:
    return _one_document(conn, principal, documents.c.base_id == base_id, documents.c.name == name)


def list_documents(conn: Connection, principal: Principal, base_id: str) -> list[Document]:
    query = select(*_columns(documents)).where(
        documents.c.workspace_id == principal.workspace_id, documents.c.base_id == base_id
    )
    return [Document(**row) for row in conn.execute(query.order_by(documents.c.id.desc())).mappings()]


def list_unfinished(conn: Connection) -> list[tuple[str, Document]]:
    """Return every workspace's documents on their way in, each with its workspace."""
    query = select(documents.c.workspace_id, *_columns(documents)).where(documents.c.status.in_(UNFINISHED))
    rows = [dict(row) for row in conn.execute(query).mappings()]
    return [(row.pop("workspace_id"), Document(**row)) for row in rows]


def requeue_document(conn: Connection, principal: Principal, document: Document, *, digest: str, size: int) -> Document:
    """Start the document's next attempt. Passages of an earlier version stay until the new ones are in."""
    changes = {"digest": digest, "size": size, "status": "queued", "error": "", "attempt": document.attempt + 1}
    conn.execute(update(documents).where(*_attempt(principal, document.id, document.attempt)).values(**changes))
    return replace(document, **changes)


def mark_document(
    conn: Connection, principal: Principal, document_id: str, attempt: int, status: str, *, error: str = ""
) -> bool:
    """Record how far an attempt is; False when the document is gone or a newer attempt has begun."""
    where = _attempt(principal, document_id, attempt)
    return conn.execute(update(documents).where(*where).values(status=status, error=error)).rowcount == 1


def finish_document(
    conn: Connection, principal: Principal, document: Document, drafts: Sequence[Draft], **facts: Any
) -> None:
    """Replace the document's passages and mark it ready, all in the caller's transaction."""
    generation = _next_generation(conn, document.base_id)
    where = _attempt(principal, document.id, document.attempt)
    values = {"status": "ready", "error": "", "chunks": len(drafts), "generation": generation, **facts}
    if conn.execute(update(documents).where(*where).values(**values)).rowcount == 0:
        return
    conn.execute(sql_delete(chunks).where(chunks.c.document_id == document.id))
    shared = {
        "workspace_id": principal.workspace_id,
        "owner_id": document.owner_id,
        "created_at": now(),
        "document_id": document.id,
    }
    rows = [{"id": new_id("chk"), **shared, "seq": seq, **_chunk_values(draft)} for seq, draft in enumerate(drafts)]
    conn.execute(chunks.insert(), rows)


def delete_document(conn: Connection, principal: Principal, document: Document) -> None:
    _next_generation(conn, document.base_id)
    conn.execute(sql_delete(chunks).where(chunks.c.document_id == document.id))
    where = (documents.c.workspace_id == principal.workspace_id, documents.c.id == document.id)
    conn.execute(sql_delete(documents).where(*where))


def list_indexed(conn: Connection, base_id: str) -> dict[str, tuple[int, str]]:
    """Return generation and title of every document that has passages, in a stable order."""
    columns = (documents.c.id, documents.c.generation, documents.c.title)
    query = select(*columns).where(documents.c.base_id == base_id, documents.c.generation > 0).order_by(documents.c.id)
    return {id: (generation, title) for id, generation, title in conn.execute(query)}


def list_chunks(conn: Connection, document_id: str) -> list[Chunk]:
    query = select(*_columns(chunks, "owner_id", "created_at")).where(chunks.c.document_id == document_id)
    return [_chunk(row) for row in conn.execute(query.order_by(chunks.c.seq)).mappings()]


def find_passages(
    conn: Connection, principal: Principal, chunk_ids: Sequence[str]
) -> dict[str, tuple[Chunk, str, str]]:
    """Return chunks by id, each with its document's name and title."""
    query = (
        select(*_columns(chunks, "owner_id", "created_at"), documents.c.name, documents.c.title)
        .join(documents, documents.c.id == chunks.c.document_id)
        .where(chunks.c.workspace_id == principal.workspace_id, chunks.c.id.in_(chunk_ids))
    )
    rows = [dict(row) for row in conn.execute(query).mappings()]
    return {row["id"]: (_chunk(row), row.pop("name"), row.pop("title")) for row in rows}


def neighbour_texts(conn: Connection, chunk: Chunk) -> tuple[str, str]:
    """Return the text before and after a chunk, '' at the document's ends."""
    query = select(chunks.c.seq, chunks.c.text).where(
        chunks.c.document_id == chunk.document_id, chunks.c.seq.in_((chunk.seq - 1, chunk.seq + 1))
    )
    texts = {row.seq: row.text for row in conn.execute(query)}
    return texts.get(chunk.seq - 1, ""), texts.get(chunk.seq + 1, "")


def count_documents(conn: Connection, principal: Principal) -> dict[str, dict[str, int]]:
    """Return, for every base, how many documents it has in each status."""
    query = (
        select(documents.c.base_id, documents.c.status, func.count())
        .where(documents.c.workspace_id == principal.workspace_id)
        .group_by(documents.c.base_id, documents.c.status)
    )
    counts: dict[str, dict[str, int]] = {}
    for base_id, status, count in conn.execute(query):
        counts.setdefault(base_id, {})[status] = count
    return counts


def _one_base(conn: Connection, principal: Principal, condition: Any) -> KnowledgeBase | None:
    query = select(*_columns(bases)).where(bases.c.workspace_id == principal.workspace_id, condition)
    row = conn.execute(query).mappings().first()
    return KnowledgeBase(**row) if row else None


def _one_document(conn: Connection, principal: Principal, *conditions: Any) -> Document | None:
    query = select(*_columns(documents)).where(documents.c.workspace_id == principal.workspace_id, *conditions)
    row = conn.execute(query).mappings().first()
    return Document(**row) if row else None


def _attempt(principal: Principal, document_id: str, attempt: int) -> tuple[Any, ...]:
    return (
        documents.c.workspace_id == principal.workspace_id,
        documents.c.id == document_id,
        documents.c.attempt == attempt,
    )


def _next_generation(conn: Connection, base_id: str) -> int:
    conn.execute(update(bases).where(bases.c.id == base_id).values(generation=bases.c.generation + 1))
    return conn.execute(select(bases.c.generation).where(bases.c.id == base_id)).scalar_one()


def _columns(table: Table, *without: str) -> list[Column[Any]]:
    return [column for column in table.columns if column.name not in ("workspace_id", *without)]


def _chunk(row: Any) -> Chunk:
    names = ("id", "document_id", "seq", "text", "page", "start", "end")
    return Chunk(heading=tuple(row["heading"]), **{name: row[name] for name in names})


def _chunk_values(draft: Draft) -> dict[str, Any]:
    return {
        "text": draft.text,
        "heading": list(draft.heading),
        "page": draft.page,
        "start": draft.start,
        "end": draft.end,
    }
