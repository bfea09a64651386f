"""Build the PDF and DOCX policies of the help desk example from sources/*.md.

The first line of a source names its output, `<!-- format: pdf -->` or
`<!-- format: docx -->`, and a line `<!-- page -->` starts a new page. Sources use
a small part of Markdown, one block per line: headings, paragraphs, bullet and
numbered lists, pipe tables and **bold**.

Printing needs `chromium` and Noto Sans CJK. Chromium embeds that font as outlines, so
Chinese PDFs come out about four times smaller when Droid Sans Fallback (Debian:
fonts-droid-fallback) is installed as well.

Usage: python build_policies.py [NAME ...]     for example: leave.en payroll.zh
"""

import argparse
import html
import re
import subprocess
import tempfile
from datetime import datetime
from itertools import groupby
from pathlib import Path

from docx import Document
from docx.oxml.ns import qn
from docx.shared import Cm, Pt

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "sources"
POLICIES = HERE / "policies"

FORMAT = re.compile(r"<!--\s*format:\s*(pdf|docx)\s*-->")
LINE_KINDS = [
    ("page", re.compile(r"<!--\s*page\s*-->()$")),
    ("heading", re.compile(r"(#{1,4} .+)$")),
    ("bullets", re.compile(r"[-*] (.+)$")),
    ("numbers", re.compile(r"\d+\. (.+)$")),
    ("table", re.compile(r"\|(.+)\|$")),
    ("paragraph", re.compile(r"(.+)$")),
]
BOLD = re.compile(r"\*\*(.+?)\*\*")
HYPHENATED = re.compile(r"[\w@.]+(?:-[\w@.]+)+", re.ASCII)

CSS = """
@page { size: A4; margin: 22mm 20mm; }
body { font: 10.5pt/1.5 'Droid Sans Fallback', 'Noto Sans CJK SC', sans-serif; }
h1 { font-size: 19pt; margin: 0 0 8pt; }
h2 { font-size: 14pt; margin: 16pt 0 6pt; }
h3 { font-size: 11.5pt; margin: 12pt 0 4pt; }
h1, h2, h3 { break-after: avoid; line-height: 1.3; }
p, ul, ol, table { margin: 6pt 0; }
table { border-collapse: collapse; width: 100%; }
tr { break-inside: avoid; }
th, td { border: 0.5pt solid #888; padding: 3pt 6pt; text-align: left; vertical-align: top; }
th { background: #eee; }
span { white-space: nowrap; }
.page { break-before: page; }
:lang(zh) :is(h1, h2, h3, th, strong) { font-weight: normal; }
:lang(zh) strong { text-decoration: underline; }
"""


def classify(line):
    """Return (kind, text) of one source line; blank lines have the kind None."""
    line = line.strip()
    for kind, pattern in LINE_KINDS:
        if match := pattern.match(line):
            return kind, match[1].strip()
    return None, ""


def parse(text):
    """Yield (kind, lines) for each block; a table's lines are lists of cells."""
    for kind, group in groupby(map(classify, text.splitlines()), key=lambda item: item[0]):
        lines = [line for _, line in group]
        if kind == "table":
            rows = [[cell.strip() for cell in line.split("|")] for line in lines]
            yield kind, [row for row in rows if not all(set(cell) <= set("-:") for cell in row)]
        elif kind in ("bullets", "numbers"):
            yield kind, lines
        elif kind:
            for line in lines:
                yield kind, [line]


def split_heading(line):
    """Split `## Text` into its level and its text."""
    marks, text = line.split(" ", 1)
    return len(marks), text.strip()


def inline_html(text):
    """Escape a piece of text, mark its bold parts and keep hyphenated words on one line."""
    text = HYPHENATED.sub(r"<span>\g<0></span>", html.escape(text, quote=False))
    return BOLD.sub(r"<strong>\1</strong>", text)


def to_html(blocks, title, lang):
    """Render blocks as one HTML page."""
    body = []
    for kind, lines in blocks:
        if kind == "heading":
            level, text = split_heading(lines[0])
            body.append(f"<h{level}>{inline_html(text)}</h{level}>")
        elif kind == "page":
            body.append('<div class="page"></div>')
        elif kind == "paragraph":
            body.append(f"<p>{inline_html(lines[0])}</p>")
        elif kind == "table":
            for tag, rows in (("th", lines[:1]), ("td", lines[1:])):
                cells = ("".join(f"<{tag}>{inline_html(c)}</{tag}>" for c in row) for row in rows)
                body.append("\n".join(f"<tr>{row}</tr>" for row in cells))
            body[-2:] = ["<table>", *body[-2:], "</table>"]
        else:
            tag = "ul" if kind == "bullets" else "ol"
            items = "\n".join(f"<li>{inline_html(line)}</li>" for line in lines)
            body.append(f"<{tag}>\n{items}\n</{tag}>")
    language = "zh-CN" if lang == "zh" else lang
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{CSS}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def build_pdf(blocks, title, lang, target):
    """Print the HTML of a policy to a PDF with headless Chromium."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "policy.html")
        page.write_text(to_html(blocks, title, lang), encoding="utf-8")
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu"]
        command += ["--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        command += [f"--print-to-pdf={target}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def add_runs(paragraph, text):
    """Add text to a Word paragraph, with its bold parts as bold runs."""
    for index, part in enumerate(BOLD.split(text)):
        if part:
            paragraph.add_run(part).bold = index % 2 == 1 or None


def add_list(document, lines, style):
    """Add a Word list; each numbered list counts from 1."""
    number = None
    if style == "List Number":
        numbering = document.part.numbering_part.element
        used = document.styles[style].element.pPr.numPr.numId.val
        number = numbering.add_num(numbering.num_having_numId(used).abstractNumId.val)
        number.add_lvlOverride(ilvl=0).add_startOverride(1)
    for line in lines:
        paragraph = document.add_paragraph(style=style)
        add_runs(paragraph, line)
        if number is not None:
            properties = paragraph._p.get_or_add_pPr().get_or_add_numPr()
            properties.get_or_add_numId().val = number.numId
            properties.get_or_add_ilvl().val = 0


def build_docx(blocks, title, lang, target):
    """Write a policy as a Word document with real heading, list and table styles."""
    document = Document()
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    font = document.styles["Normal"].font
    font.size = Pt(11)
    font.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), "Noto Sans CJK SC")
    properties = document.core_properties
    properties.title, properties.author, properties.comments = title, "", ""
    properties.language = "zh-CN" if lang == "zh" else lang
    properties.created = properties.modified = datetime(2025, 1, 1)
    for kind, lines in blocks:
        if kind == "heading":
            level, text = split_heading(lines[0])
            add_runs(document.add_heading(level=level), text)
        elif kind == "page":
            document.add_page_break()
        elif kind == "paragraph":
            add_runs(document.add_paragraph(), lines[0])
        elif kind == "table":
            table = document.add_table(rows=0, cols=len(lines[0]), style="Table Grid")
            for row in lines:
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    add_runs(cell.paragraphs[0], text)
        else:
            add_list(document, lines, "List Bullet" if kind == "bullets" else "List Number")
    document.save(target)


def build(source):
    """Build one source into policies/ and return the written path."""
    first, _, text = source.read_text(encoding="utf-8").partition("\n")
    match = FORMAT.match(first)
    if not match:
        raise SystemExit(f"{source.name}: the first line must be <!-- format: pdf|docx -->")
    blocks = list(parse(text))
    titles = [split_heading(lines[0]) for kind, lines in blocks if kind == "heading"]
    title = next((text for level, text in titles if level == 1), source.stem)
    target = POLICIES / f"{source.stem}.{match[1]}"
    writer = build_pdf if match[1] == "pdf" else build_docx
    writer(blocks, title, source.stem.rpartition(".")[2], target)
    return target


def main():
    """Build the named sources, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="sources to build, without .md; default: all")
    names = parser.parse_args().names
    sources = [SOURCES / f"{name}.md" for name in names] or sorted(SOURCES.glob("*.md"))
    POLICIES.mkdir(exist_ok=True)
    for source in sources:
        print(build(source).relative_to(HERE))


if __name__ == "__main__":
    main()
