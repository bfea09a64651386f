from collections.abc import Callable

import pytest

from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.knowledge import store
from inhouse.knowledge.bases import (
    MAX_DOCUMENT_BYTES,
    BadName,
    DocumentNotFailed,
    DocumentNotFound,
    DocumentTooLarge,
    KnowledgeBaseExists,
    KnowledgeBaseNotFound,
    KnowledgeBases,
)
from inhouse.knowledge.store import Document

Ingest = Callable[[KnowledgeBases, str, bytes], Document]
LEAVE = "# 休假制度\n\n## 结转\n\n未休的年休假最多 5 天自动结转到下一年。\n\n## 病假\n\n病假须当天登记。\n"


async def texts(room: KnowledgeBases, principal: Principal, query: str) -> list[str]:
    return [passage.text for passage in (await room.search(principal, query, ["policies"])).passages]


async def test_pages_of_a_pdf_are_cited(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest, make_pdf: Callable[..., bytes]
) -> None:
    ingest(policies, "it.pdf", make_pdf([[(11, 700, "Printers jam.")], [(11, 700, "Monitors flicker.")]]))

    passage = (await policies.search(principal, "monitor", ["policies"])).passages[0]

    assert (passage.page, passage.text) == (2, "Monitors flicker.")


async def test_two_character_chinese_words_are_found(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    ingest(policies, "leave.zh.md", LEAVE.encode())

    assert (await texts(policies, principal, "病假"))[0] == "病假须当天登记。"


async def test_what_the_documents_do_not_say_is_refused(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    ingest(policies, "leave.zh.md", LEAVE.encode())

    result = await policies.search(principal, "who won the football match yesterday", ["policies"])

    assert not result.answerable
    assert result.coverage == 0


async def test_an_empty_base_answers_nothing(policies: KnowledgeBases, principal: Principal) -> None:
    result = await policies.search(principal, "年假", ["policies"])

    assert (result.passages, result.answerable) == ([], False)


async def test_a_deleted_document_is_found_no_more(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    document = ingest(policies, "leave.zh.md", LEAVE.encode())
    assert await texts(policies, principal, "病假")

    policies.delete(principal, "policies", document.id)

    assert await texts(policies, principal, "病假") == []
    with pytest.raises(DocumentNotFound):
        policies.document(principal, "policies", document.id)


async def test_a_failing_document_fails_alone(policies: KnowledgeBases, principal: Principal, ingest: Ingest) -> None:
    broken = ingest(policies, "broken.pdf", b"%PDF-1.4 nonsense")
    good = ingest(policies, "leave.zh.md", LEAVE.encode())

    assert broken.status == "failed"
    assert "damaged" in broken.error
    assert good.status == "ready"
    assert await texts(policies, principal, "病假")


def test_a_document_without_words_fails(policies: KnowledgeBases, ingest: Ingest) -> None:
    assert "holds no text" in ingest(policies, "blank.md", b"<!-- nothing -->").error


async def test_a_new_version_replaces_the_old_one(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    first = ingest(policies, "taxi.md", b"Taxi rides cost 50 EUR at most.")

    second = ingest(policies, "taxi.md", b"Taxi rides cost 80 EUR at most.")

    assert second.id == first.id
    assert await texts(policies, principal, "taxi rides") == ["Taxi rides cost 80 EUR at most."]


async def test_an_unreadable_new_version_leaves_the_old_one_searchable(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    ingest(policies, "taxi.md", b"Taxi rides cost 50 EUR at most.")

    assert ingest(policies, "taxi.md", b" ").status == "failed"
    assert await texts(policies, principal, "taxi rides") == ["Taxi rides cost 50 EUR at most."]


def test_the_same_content_again_changes_nothing(policies: KnowledgeBases, principal: Principal, ingest: Ingest) -> None:
    first = ingest(policies, "taxi.md", b"Taxi rides.")

    assert policies.add(principal, "policies", "taxi.md", b"Taxi rides.") == first


def test_a_failed_document_can_be_tried_again(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest, finish: Callable[..., Document]
) -> None:
    document = ingest(policies, "broken.pdf", b"%PDF-1.4 nonsense")

    again = finish(policies, policies.retry(principal, "policies", document.id))

    assert (again.status, again.attempt) == ("failed", 2)


def test_a_ready_document_cannot_be_tried_again(policies: KnowledgeBases, principal: Principal, ingest: Ingest) -> None:
    document = ingest(policies, "taxi.md", b"Taxi rides.")

    with pytest.raises(DocumentNotFailed, match="ready"):
        policies.retry(principal, "policies", document.id)


def test_a_document_stored_but_never_queued_is_recovered(
    policies: KnowledgeBases,
    shared: tuple[KnowledgeBases, Database],
    principal: Principal,
    finish: Callable[..., Document],
) -> None:
    digest = policies.add(principal, "policies", "other.md", b"Taxi rides.").digest
    base, _ = policies.get(principal, "policies")
    with shared[1].write() as conn:  # what a crash between the two leaves behind
        lost = store.insert_document(conn, principal, base_id=base.id, name="lost.md", digest=digest, size=11)

    policies.recover()

    assert finish(policies, lost).status == "ready"


async def test_a_passage_opens_in_its_context(policies: KnowledgeBases, principal: Principal, ingest: Ingest) -> None:
    ingest(policies, "leave.zh.md", LEAVE.encode())
    found = (await policies.search(principal, "病假", ["policies"])).passages[0]

    passage, before, after = policies.passage(principal, found.chunk_id)

    assert (passage.text, passage.document) == ("病假须当天登记。", "leave.zh.md")
    assert (before, after) == ("未休的年休假最多 5 天自动结转到下一年。", "")


async def test_several_bases_are_searched_as_one(
    policies: KnowledgeBases, principal: Principal, ingest: Ingest
) -> None:
    policies.create(principal, "empty")
    ingest(policies, "leave.zh.md", LEAVE.encode())

    result = await policies.search(principal, "病假", ["empty", "policies"])

    assert result.passages[0].text == "病假须当天登记。"


def test_a_base_counts_its_documents(policies: KnowledgeBases, principal: Principal, ingest: Ingest) -> None:
    ingest(policies, "taxi.md", b"Taxi rides.")
    ingest(policies, "empty.md", b"")

    assert policies.list(principal) == [policies.get(principal, "policies")]
    assert policies.get(principal, "policies")[1] == {"ready": 1, "failed": 1}


def test_a_taken_name_is_a_conflict(policies: KnowledgeBases, principal: Principal) -> None:
    with pytest.raises(KnowledgeBaseExists, match="policies"):
        policies.create(principal, "policies")


@pytest.mark.parametrize("name", ["", " ", "a/b", "x" * 201, "\x00"])
def test_a_bad_name_is_refused(policies: KnowledgeBases, principal: Principal, name: str) -> None:
    with pytest.raises(BadName):
        policies.create(principal, name)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("../../etc/a.md", "a.md"), ("C:\\x\\a.md", "a.md"), ("in\u202evoice.md", "invoice.md"), ("a\r\nb.md", "a b.md")],
)
def test_file_names_are_made_safe(policies: KnowledgeBases, principal: Principal, given: str, kept: str) -> None:
    assert policies.add(principal, "policies", given, b"text").name == kept


def test_a_huge_file_is_refused(policies: KnowledgeBases, principal: Principal) -> None:
    with pytest.raises(DocumentTooLarge, match="64 MB"):
        policies.add(principal, "policies", "a.txt", bytes(MAX_DOCUMENT_BYTES + 1))


def test_an_unknown_base_names_the_known_ones(policies: KnowledgeBases, principal: Principal) -> None:
    with pytest.raises(KnowledgeBaseNotFound) as caught:
        policies.add(principal, "polices", "a.md", b"x")

    assert "policies" in caught.value.hint
