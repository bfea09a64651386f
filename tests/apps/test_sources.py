import httpx
import pytest

from inhouse.apps.sources import sources_of
from inhouse.core.trace import Span, Trace

from .conftest import ask


def passage(name: str) -> dict[str, object]:
    facts = {"_source": "knowledge", "document_name": f"{name}.pdf", "segment_id": f"chunk_{name}", "page": 3}
    return {"title": name, "content": f"About {name}.", "metadata": {**facts, "heading": ["Top", name]}}


def trace_of(*spans: Span) -> Trace:
    return Trace("default", "user_ann", spans=list(spans))


def numbers(answer: str) -> list[tuple[int, bool]]:
    read = Span("llm", "llm", input={"search.result": [passage("a"), passage("b"), passage("c")]})
    return [(source.n, source.cited) for source in sources_of(trace_of(read), answer)]


@pytest.mark.parametrize(
    ("answer", "cited"),
    [
        ("So it is [2].", [2]),
        ("So it is [3][1].", [1, 3]),
        ("So it is [1, 3].", [1, 3]),
        ("就是这样【2】。", [2]),
        ("See [2](http://example.com) and [9] and [a].", []),
    ],
)
def test_cited_passages_come_first_and_keep_their_numbers(answer: str, cited: list[int]):
    uncited = [n for n in (1, 2, 3) if n not in cited]

    assert numbers(answer) == [(n, True) for n in cited] + [(n, False) for n in uncited]


def test_a_source_tells_where_it_stands():
    read = Span("llm", "llm", input={"search.result": [passage("a")]})

    [source] = sources_of(trace_of(read), "[1]")

    assert (source.document, source.page, source.chunk_id) == ("a.pdf", 3, "chunk_a")
    assert (source.title, source.heading, source.text) == ("a", ["Top", "a"], "About a.")


def test_numbers_follow_what_the_model_read_not_what_was_found_last():
    read = Span("llm", "llm", input={"sys.query": "q", "first.result": [passage("a")]})
    found = Span("search", "knowledge-retrieval", output={"result": [passage("b")], "answerable": True})

    assert [source.title for source in sources_of(trace_of(read, found), "[1]")] == ["a"]


def test_without_a_model_the_answer_rests_on_what_was_found():
    found = Span("search", "knowledge-retrieval", output={"result": [passage("b")], "answerable": True})

    assert [source.title for source in sources_of(trace_of(found), "From the handbook.")] == ["b"]


async def test_a_refusal_rests_on_nothing(ann: httpx.AsyncClient):
    message = await ask(ann, "zebras are unheard of in a day like this one here")

    assert message["answer"] == "The documents don't say."
    assert message["sources"] == []
