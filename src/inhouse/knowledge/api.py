"""HTTP of the knowledge room."""

from typing import Annotated

from fastapi import APIRouter, Query, UploadFile

from inhouse.core.api import permit
from inhouse.core.principal import Principal
from inhouse.knowledge.bases import MAX_DOCUMENT_BYTES, KnowledgeBases
from inhouse.knowledge.schemas import (
    DocumentList,
    DocumentOut,
    KnowledgeBaseList,
    KnowledgeBaseOut,
    NewKnowledgeBase,
    PassageInContext,
    SearchOut,
)

Reader = Annotated[Principal, permit("knowledge:read")]
Writer = Annotated[Principal, permit("knowledge:write")]


def router(bases: KnowledgeBases) -> APIRouter:
    """The routes of knowledge bases. Plain functions run in the server's thread pool."""
    routes = APIRouter(tags=["knowledge"])

    @routes.get("/knowledge")
    def list_bases(who: Reader) -> KnowledgeBaseList:
        return KnowledgeBaseList(items=[KnowledgeBaseOut.of(*found) for found in bases.list(who)])

    @routes.post("/knowledge", status_code=201)
    def create_base(who: Writer, body: NewKnowledgeBase) -> KnowledgeBaseOut:
        return KnowledgeBaseOut.of(bases.create(who, body.name, body.description), {})

    @routes.get("/knowledge/{name}")
    def get_base(who: Reader, name: str) -> KnowledgeBaseOut:
        return KnowledgeBaseOut.of(*bases.get(who, name))

    @routes.post("/knowledge/{name}/documents", status_code=202)
    def add_documents(who: Writer, name: str, files: list[UploadFile]) -> DocumentList:
        added = [bases.add(who, name, file.filename or "", file.file.read(MAX_DOCUMENT_BYTES + 1)) for file in files]
        return DocumentList(items=[DocumentOut.model_validate(document) for document in added])

    @routes.get("/knowledge/{name}/documents")
    def list_documents(who: Reader, name: str) -> DocumentList:
        return DocumentList(items=[DocumentOut.model_validate(found) for found in bases.documents(who, name)])

    @routes.get("/knowledge/{name}/documents/{document_id}")
    def get_document(who: Reader, name: str, document_id: str) -> DocumentOut:
        return DocumentOut.model_validate(bases.document(who, name, document_id))

    @routes.delete("/knowledge/{name}/documents/{document_id}", status_code=204)
    def delete_document(who: Writer, name: str, document_id: str) -> None:
        bases.delete(who, name, document_id)

    @routes.post("/knowledge/{name}/documents/{document_id}/retry", status_code=202)
    def retry_document(who: Writer, name: str, document_id: str) -> DocumentOut:
        return DocumentOut.model_validate(bases.retry(who, name, document_id))

    @routes.get("/knowledge/{name}/search")
    async def search(
        who: Reader,
        name: str,
        query: Annotated[str, Query(min_length=1)],
        top_k: Annotated[int, Query(ge=1, le=50)] = 4,
    ) -> SearchOut:
        return SearchOut.model_validate(await bases.search(who, query, [name], top_k))

    @routes.get("/passages/{chunk_id}")
    def get_passage(who: Reader, chunk_id: str) -> PassageInContext:
        return PassageInContext.of(*bases.passage(who, chunk_id))

    return routes
