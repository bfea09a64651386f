from inhouse.knowledge.parser import Block
from inhouse.knowledge.splitter import MAX_SIZE, sentences, size, split


def test_a_passage_keeps_its_heading_path_and_page() -> None:
    drafts = split([Block("Travel", level=1), Block("Hotels", level=2), Block("Up to 600.", page=2)])

    assert [(draft.text, draft.heading, draft.page) for draft in drafts] == [("Up to 600.", ("Travel", "Hotels"), 2)]


def test_a_higher_heading_ends_the_path_below_it() -> None:
    drafts = split([Block("A", level=1), Block("B", level=2), Block("x"), Block("C", level=1), Block("y")])

    assert [draft.heading for draft in drafts] == [("A", "B"), ("C",)]


def test_a_passage_never_spans_pages() -> None:
    drafts = split([Block("one", page=1), Block("two", page=2)])

    assert [(draft.text, draft.page) for draft in drafts] == [("one", 1), ("two", 2)]


def test_a_heading_with_nothing_below_it_is_a_passage() -> None:
    drafts = split([Block("Agenda", level=1), Block("Budget", level=2), Block("Hiring", level=2)])

    assert [draft.text for draft in drafts] == ["Budget", "Hiring"]


def test_long_sections_are_cut_between_sentences() -> None:
    block = Block("".join(f"第{n}条规定员工必须按时提交申请。" for n in range(80)))

    drafts = split([block])

    assert len(drafts) > 2
    assert all(size(draft.text) <= MAX_SIZE and draft.text.endswith("。") for draft in drafts)


def test_text_without_sentences_is_cut_too() -> None:
    assert all(size(draft.text) <= MAX_SIZE for draft in split([Block("字" * 2000)]))


def test_offsets_are_places_in_the_documents_text() -> None:
    blocks = [Block("Rules", level=1), Block("First rule. " * 300), Block("Last rule.")]
    whole = "\n".join(block.text for block in blocks)

    drafts = split(blocks)

    assert len(drafts) > 1
    assert all(whole[draft.start : draft.end] == draft.text for draft in drafts)


def test_sentences_end_where_a_reader_says() -> None:
    text = 'Dr. Smith pays 3.5 EUR. He says "yes." Then 工资3.5万元。第1.2条：“好的！”然后走了；是吗？'

    assert sentences(text) == [
        "Dr. Smith pays 3.5 EUR.",
        ' He says "yes."',
        " Then 工资3.5万元。",
        "第1.2条：“好的！”",
        "然后走了；",
        "是吗？",
    ]
