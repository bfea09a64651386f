import io
import zipfile
from collections.abc import Callable

import pytest

from inhouse.knowledge.parser import Block, Parsed, Unreadable, choose

Make = Callable[..., bytes]


def parse(filename: str, data: bytes) -> Parsed:
    return choose(filename, data).parse(data)


def page(*lines: tuple[int, int, str]) -> list[tuple[int, int, str]]:
    return list(lines)


def test_a_pdf_gives_headings_paragraphs_and_page_numbers(make_pdf: Make) -> None:
    data = make_pdf(
        [
            page((20, 700, "Leave policy"), (11, 660, "Every employee has ten days of annual leave.")),
            page((11, 700, "Unused days are carried over until the end of March.")),
        ]
    )

    parsed = parse("leave.pdf", data)

    assert parsed.pages == 2
    assert parsed.blocks == [
        Block("Leave policy", page=1, level=1),
        Block("Every employee has ten days of annual leave.", page=1),
        Block("Unused days are carried over until the end of March.", page=2),
    ]


def test_wrapped_lines_of_a_pdf_become_one_paragraph(make_pdf: Make) -> None:
    data = make_pdf(
        [page((11, 700, "A claim is filed within ninety days of the date on the"), (11, 685, "receipt, in the app."))]
    )

    assert [block.text for block in parse("claims.pdf", data).blocks] == [
        "A claim is filed within ninety days of the date on the receipt, in the app."
    ]


def test_running_headers_and_footers_of_a_pdf_are_dropped(make_pdf: Make) -> None:
    pages = [page((9, 815, "Handbook"), (11, 500, f"Fact {n}."), (9, 30, f"Page {n} of 3")) for n in (1, 2, 3)]

    parsed = parse("handbook.pdf", make_pdf(pages))

    assert [(block.page, block.text) for block in parsed.blocks] == [(1, "Fact 1."), (2, "Fact 2."), (3, "Fact 3.")]


def test_cells_of_a_table_row_in_a_pdf_are_told_apart(make_pdf: Make) -> None:
    drawn = make_pdf([page((11, 700, "Meal with customers"), (11, 600, "Every limit includes tax."))])
    row = drawn.replace(b"Tj ET", b"Tj 300 0 Td (CNY 200) Tj ET", 1)

    assert parse("limits.pdf", row).blocks[0].text == "Meal with customers | CNY 200"


def test_word_documents_keep_body_order_headings_and_tables(make_docx: Make) -> None:
    def fill(document) -> None:
        document.add_heading("差旅管理规定", level=1)
        table = document.add_table(rows=2, cols=2)
        for cell, text in zip(table._cells, ("城市", "上限", "北京", "600 元"), strict=True):
            cell.text = text
        document.add_paragraph("超标须审批。")

    assert parse("travel.docx", make_docx(fill)).blocks == [
        Block("差旅管理规定", level=1),
        Block("城市: 北京; 上限: 600 元"),
        Block("超标须审批。"),
    ]


def test_a_merged_cell_counts_once(make_docx: Make) -> None:
    def fill(document) -> None:
        table = document.add_table(rows=2, cols=3)
        for cell, text in zip(table._cells, ("Office", "Days", "Note", "Chengdu", "", "ten"), strict=True):
            cell.text = text
        table.cell(1, 0).merge(table.cell(1, 1))

    assert parse("days.docx", make_docx(fill)).blocks == [Block("Office: Chengdu; Note: ten")]


def test_markdown_gives_plain_text_with_structure() -> None:
    source = """---
author: x
---
# VPN
Use the **client** from the
[portal](https://example.com).

- first
- second

| Office | Days |
|---|---|
| Chengdu | 10 |
<!-- hidden -->
```
# no heading
```
"""

    assert parse("vpn.md", source.encode()).blocks == [
        Block("VPN", level=1),
        Block("Use the client from the\nportal."),
        Block("first"),
        Block("second"),
        Block("Office: Chengdu; Days: 10"),
        Block("# no heading"),
    ]


def test_html_gives_the_readable_text() -> None:
    source = "<html><title>Taxi</title><script>x()</script><nav>Home</nav><h2>Limits</h2><p>Up to <b>50</b> EUR.</p>"

    parsed = parse("taxi.html", source.encode())

    assert parsed.title == "Taxi"
    assert parsed.blocks == [Block("Limits", level=2), Block("Up to 50 EUR.")]


def test_table_cells_in_html_are_labelled_by_their_header() -> None:
    source = "<body><table><tr><th>City<th>Limit</th></tr><tr><td>Beijing</td><td>600</td></tr></table>"

    assert parse("t.html", source.encode()).blocks[-1].text == "City: Beijing; Limit: 600"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "utf-16"])
def test_text_is_read_in_common_encodings(encoding: str) -> None:
    assert parse("a.txt", "年假十天。\n\n病假。".encode(encoding)).blocks == [Block("年假十天。"), Block("病假。")]


def zipped(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("filename", "data", "said"),
    [
        ("a.pdf", b"", "is empty"),
        ("a.pdf", b" \n", "is empty"),
        ("a.exe", b"MZ\x00", "cannot be read"),
        ("noending", b"hello", "cannot be read"),
        ("a.pdf", b"Dear all, this is a text.", "is not a pdf file"),
        ("a.txt", b"%PDF-1.4 ...", "is not a text file; its content looks like pdf"),
        ("a.pdf", b"%PDF-1.4 cut off", "damaged or has no pages"),
        ("a.docx", b"PK\x03\x04 cut off", "damaged"),
        ("a.docx", b"\xd0\xcf\x11\xe0" * 200, "password or in the old .doc"),
        ("a.docx", zipped(x=b"1"), "not a Word document"),
        ("a.docx", zipped(word__document_xml=b"\0" * 300_000_000), "unpacks to more than"),
        ("a.txt", b"\xff\xff\xff", "unknown encoding"),
    ],
)
def test_what_cannot_be_read_says_why(filename: str, data: bytes, said: str) -> None:
    with pytest.raises(Unreadable, match=said) as caught:
        parse(filename, data)

    assert caught.value.hint


def test_a_pdf_without_pages_is_refused(make_pdf: Make) -> None:
    with pytest.raises(Unreadable, match="no pages"):
        parse("a.pdf", make_pdf([]))


def test_a_scanned_pdf_is_refused_with_the_way_out(make_pdf: Make) -> None:
    with pytest.raises(Unreadable, match="holds no text") as caught:
        parse("scan.pdf", make_pdf([[]]))

    assert "OCR" in caught.value.hint


def test_a_pdf_with_a_password_is_refused(make_pdf: Make) -> None:
    locked = make_pdf([page((11, 700, "secret"))]).replace(
        b"trailer<<",
        b"trailer<</ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -44/O<"
        + b"61" * 32
        + b">/U<"
        + b"62" * 32
        + b">>>",
    )

    with pytest.raises(Unreadable, match="protected by a password"):
        parse("locked.pdf", locked)


def test_entities_in_a_word_document_reach_no_file(make_docx: Make) -> None:
    plain = make_docx(lambda document: document.add_paragraph("canary"))
    attack = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><w:document'
    source, target = zipfile.ZipFile(io.BytesIO(plain)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == "word/document.xml":
                data = data.replace(b"<w:document", attack, 1).replace(b"canary", b"&e;")
            archive.writestr(name, data)

    assert "root:" not in str(parse("evil.docx", target.getvalue()).blocks)
