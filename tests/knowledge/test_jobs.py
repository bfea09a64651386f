from collections.abc import Callable

import pytest

from inhouse.core.principal import Principal
from inhouse.knowledge.bases import DocumentNotFound, KnowledgeBaseNotFound, KnowledgeBases, PassageNotFound
from inhouse.knowledge.store import Document

Ingest = Callable[[KnowledgeBases, str, bytes], Document]
LEAVE = "# 休假制度\n\n## 结转\n\n未休的年休假最多 5 天自动结转到下一年。\n\n## 病假\n\n病假须当天登记。\n"


async def test_a_document_goes_in_and_its_passage_comes_out(
    room: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    room.create(principal, "policies")

    document = ingest(room, "leave.zh.md", LEAVE.encode())
    result = await room.search(principal, "年休假可以结转吗", ["policies"])

    assert (document.status, document.format, document.title, document.chunks) == ("ready", "markdown", "休假制度", 2)
    assert result.answerable
    assert result.passages[0].document == "leave.zh.md"
    assert result.passages[0].heading == ("休假制度", "结转")
    assert result.coverage == result.passages[0].score > 0


async def test_another_workspace_sees_nothing(
    room: KnowledgeBases, principal: Principal, stranger: Principal, ingest: Ingest
) -> None:
    room.create(principal, "policies")
    document = ingest(room, "taxi.md", b"Taxi rides.")
    chunk_id = (await room.search(principal, "taxi", ["policies"])).passages[0].chunk_id

    with pytest.raises(KnowledgeBaseNotFound):
        await room.search(stranger, "taxi", ["policies"])
    with pytest.raises(PassageNotFound):
        room.passage(stranger, chunk_id)
    room.create(stranger, "policies")
    with pytest.raises(DocumentNotFound):
        room.delete(stranger, "policies", document.id)
