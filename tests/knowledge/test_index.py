import time

import pytest

from inhouse.knowledge.index import Index, Segment, Vocabulary
from inhouse.knowledge.tokens import stem, terms

TEXTS = {
    "leave": "年休假余额在人事门户查看，劳动合同员工每年有十天。",
    "vpn": "The VPN client is installed from the portal. Policies apply to contractors.",
    "expense": "费用报销须在九十天内提交，发票抬头为公司全称。",
}


@pytest.fixture
def index() -> Index:
    vocabulary = Vocabulary()
    segments = {(name, 1): Segment.of(vocabulary, [(name, text)]) for name, text in TEXTS.items()}
    return Index(vocabulary, segments, 1)


def best(index: Index, query: str) -> str | None:
    return next((hit.chunk_id for hit in index.search(query, 1)), None)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("合同", "leave"),
        ("报的发票", "expense"),
        ("ＶＰＮ", "vpn"),
        ("policy", "vpn"),
        ("installing", "vpn"),
        ("weather", None),
        ("的", None),
        ("", None),
    ],
)
def test_words_are_found(index: Index, query: str, found: str | None) -> None:
    assert best(index, query) == found


def test_every_other_segment_is_reused_when_one_goes(index: Index) -> None:
    kept = {key: segment for key, segment in index.segments.items() if key[0] != "vpn"}

    newer = Index(index.vocabulary, kept, 2)

    assert best(newer, "VPN client") is None
    assert best(newer, "报销") == "expense"
    assert best(index, "VPN client") == "vpn"


def test_terms_of_a_later_generation_are_unknown_to_an_older_one(index: Index) -> None:
    newcomer = Segment.of(index.vocabulary, [("taxi", "Taxi rides at night are paid.")])
    newer = Index(index.vocabulary, {**index.segments, ("taxi", 2): newcomer}, 2)

    assert best(index, "taxi rides") is None
    assert best(newer, "taxi rides") == "taxi"


def test_incremental_and_fresh_indexes_agree(index: Index) -> None:
    fresh = Vocabulary()
    rebuilt = Index(fresh, {("all", 1): Segment.of(fresh, list(TEXTS.items()))}, 1)

    for query in ("年休假 portal", "发票抬头", "contract employees"):
        assert rebuilt.search(query, 3) == index.search(query, 3)


def test_unknown_words_lower_the_coverage(index: Index) -> None:
    plain, strange = index.search("VPN client", 1)[0], index.search("VPN client zebra giraffe", 1)[0]

    assert 0 < strange.coverage < plain.coverage <= 1


def test_an_empty_index_finds_nothing() -> None:
    assert Index(Vocabulary()).search("anything", 3) == []


def test_a_thousand_passages_are_searched_in_under_two_milliseconds() -> None:
    vocabulary = Vocabulary()
    texts = [(str(n), f"第{n}条 员工出差住宿标准为每晚{n}元，超标须经部门负责人审批。" * 8) for n in range(1000)]
    index = Index(vocabulary, {("all", 1): Segment.of(vocabulary, texts)}, 1)

    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        index.search("出差住宿超标了，需要部门负责人审批吗？", 4)
        seconds.append(time.perf_counter() - started)

    assert min(seconds) < 0.002


@pytest.mark.parametrize(
    ("one", "other"), [("policies", "policy"), ("claimed", "claims"), ("stopped", "stopping"), ("require", "requiring")]
)
def test_forms_of_a_word_meet(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_addresses_and_figures_stay_whole() -> None:
    assert "2.40" in terms("EUR 2.40 a day")
