"""A running knowledge room, and documents made on the spot."""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import docx
import pytest

from inhouse.core.blobs import Blobs
from inhouse.core.db import Database
from inhouse.core.ids import new_id
from inhouse.core.jobs import Jobs
from inhouse.core.principal import Principal
from inhouse.knowledge.bases import KnowledgeBases
from inhouse.knowledge.sandbox import Sandbox
from inhouse.knowledge.store import UNFINISHED, Document

Finish = Callable[[KnowledgeBases, Document], Document]
Ingest = Callable[[KnowledgeBases, str, bytes], Document]
MakePdf = Callable[[Sequence[Sequence[tuple[int, int, str]]]], bytes]


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(memory_mb=512, cpu_s=5, wall_s=20)
    yield sandbox
    sandbox.close()


@pytest.fixture
def principal() -> Principal:
    """A user of a workspace of their own, so that tests can share a running room."""
    return Principal(new_id("ws"), "user_ann", frozenset({"*"}))


@pytest.fixture
def room(db: Database, blobs: Blobs, sandbox: Sandbox, tmp_path: Path) -> Iterator[KnowledgeBases]:
    """A running room on each kind of database. Not together with `policies`: there is one job runner at a time."""
    yield from _running(db, blobs, sandbox, tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Iterator[tuple[KnowledgeBases, Database]]:
    directory = tmp_path_factory.mktemp("knowledge")
    database = Database(f"sqlite:///{directory / 'test.db'}")
    database.create_all()
    for room in _running(database, Blobs(str(directory / "blobs")), sandbox, directory):
        yield room, database
    database.dispose()


@pytest.fixture
def policies(shared: tuple[KnowledgeBases, Database], principal: Principal) -> KnowledgeBases:
    """The module's room on SQLite, with an empty base named "policies" in the test's own workspace."""
    room, _ = shared
    room.create(principal, "policies")
    return room


@pytest.fixture
def finish(principal: Principal) -> Finish:
    """Wait until a document of "policies" is ready or failed."""

    def wait(room: KnowledgeBases, document: Document) -> Document:
        for _ in range(1000):
            document = room.document(principal, "policies", document.id)
            if document.status not in UNFINISHED:
                return document
            time.sleep(0.02)
        raise AssertionError(f"{document.name} did not end")

    return wait


@pytest.fixture
def ingest(principal: Principal, finish: Finish) -> Ingest:
    """Add one file to "policies" and wait for its end."""
    return lambda room, filename, data: finish(room, room.add(principal, "policies", filename, data))


@pytest.fixture
def make_pdf() -> MakePdf:
    """Write a PDF of pages of `(size, y, text)` lines."""

    def make(pages: Sequence[Sequence[tuple[int, int, str]]]) -> bytes:
        kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
        objects = [
            "<</Type/Catalog/Pages 2 0 R>>",
            f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
            "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        ]
        for i, lines in enumerate(pages):
            drawn = "".join(f"BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET\n" for size, y, text in lines)
            resources = "/Resources<</Font<</F1 3 0 R>>>>"
            objects += [
                f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]{resources}/Contents {5 + 2 * i} 0 R>>",
                f"<</Length {len(drawn)}>>stream\n{drawn}endstream",
            ]
        body = "%PDF-1.4\n" + "".join(f"{n} 0 obj\n{text}\nendobj\n" for n, text in enumerate(objects, 1))
        return (body + f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\n%%EOF").encode()

    return make


@pytest.fixture
def make_docx() -> Callable[[Callable], bytes]:
    """Let a function fill a new Word document and return its bytes."""

    def make(fill: Callable) -> bytes:
        document, file = docx.Document(), io.BytesIO()
        fill(document)
        document.save(file)
        return file.getvalue()

    return make


def _running(db: Database, blobs: Blobs, sandbox: Sandbox, tmp_path: Path) -> Iterator[KnowledgeBases]:
    jobs = Jobs(f"sqlite:///{tmp_path / 'jobs.db'}", poll_s=0.02)
    room = KnowledgeBases(db, blobs, jobs, sandbox)
    jobs.launch()
    yield room
    jobs.close()
