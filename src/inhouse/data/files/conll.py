"""A word or character a line with its tag behind it, an empty line between sentences: BIO, BIOES, BMES."""

import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from inhouse.data.file import BadRow, CannotExport, Content, FileKind, Row, file_kind, open_text

_TAG = re.compile(r"O|[BIESMLU]-\S+")
_TEXT = "# text = "
_JSON_TEXT = "# text_json = "
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\u3000-\u303f]")
_PIECE = re.compile(r"\S+")


class _Word(NamedTuple):
    text: str
    tag: str


@file_kind("conll")
class Conll(FileKind):
    """Tags of words or characters. Words are joined by spaces, Chinese characters are not.

    A comment `# text = …` before a sentence, as in CoNLL-U, says how the words stood in it; exports have one.
    """

    suffixes = ("conll", "bio", "bmes", "bioes", "iob", "iob2")

    def read(self, file: BinaryIO) -> Content:
        text, encoding = open_text(file, newline="\n")
        return Content(_sentences(text), encoding)

    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        for row in rows:
            out.write(_written(row).encode())


def _sentences(lines: io.TextIOWrapper) -> Iterator[Row | BadRow]:
    words: list[_Word] = []
    whole = ""
    problem = ""
    for number, raw in enumerate([*_lines(lines), ""], 1):
        if raw.startswith((_TEXT, _JSON_TEXT)) and not words:
            whole, problem = _comment(raw, number)
        elif raw.strip():
            word = _word(raw)
            if word is None:
                problem = problem or f"Line {number} does not end in a tag such as B-name or O: {raw[:40]!r}."
            elif word.text != "-DOCSTART-":
                words.append(word)
        elif words or problem:
            yield BadRow(problem) if problem else _row(words, whole)
            words, whole, problem = [], "", ""


def _lines(lines: io.TextIOWrapper) -> Iterator[str]:
    for line in lines:
        stripped = line.rstrip("\r\n")
        if not stripped.startswith("#") or stripped.startswith((_TEXT, _JSON_TEXT)) or _word(stripped) is not None:
            yield stripped


def _comment(line: str, number: int) -> tuple[str, str]:
    if line.startswith(_TEXT):
        return line.removeprefix(_TEXT), ""
    try:
        text = json.loads(line.removeprefix(_JSON_TEXT))
    except (ValueError, RecursionError):
        text = None
    return (text, "") if isinstance(text, str) else ("", f"Line {number} is not a JSON text.")


def _word(line: str) -> _Word | None:
    """The first and the last column. A word that is itself a space is what stands before a tab."""
    cells = line.split("\t") if "\t" in line else line.split()
    if len(cells) < 2 or not _TAG.fullmatch(cells[-1].strip()):
        return None
    return _Word(cells[0] or " ", cells[-1].strip())


def _row(words: list[_Word], whole: str) -> Row | BadRow:
    places, text = _aligned(words, whole) if whole else _joined(words)
    if not places:
        return BadRow("The words are not those of its text.")
    return {"text": text, "spans": _spans(words, places)}


def _joined(words: list[_Word]) -> tuple[list[int], str]:
    """Where each word begins in the text that they make."""
    separator = "" if any(_CJK.search(word.text) for word in words) else " "
    places: list[int] = []
    text = ""
    for number, word in enumerate(words):
        text += separator if number and separator else ""
        places.append(len(text))
        text += word.text
    return places, text


def _aligned(words: list[_Word], whole: str) -> tuple[list[int], str]:
    places: list[int] = []
    at = 0
    for word in words:
        found = whole.find(word.text, at)
        if found < 0:
            return [], whole
        places.append(found)
        at = found + len(word.text)
    return places, whole


def _spans(words: list[_Word], places: list[int]) -> list[dict[str, object]]:
    """Places with a label. I, M or E where nothing has begun begins: files differ in how they start one."""
    spans: list[dict[str, object]] = []
    is_open = False
    for word, start in zip(words, places, strict=True):
        mark, _, label = word.tag.partition("-")
        if mark == "O":
            is_open = False
            continue
        end = start + len(word.text)
        if is_open and mark in "IMEL" and spans[-1]["label"] == label:
            spans[-1]["end"] = end
        else:
            spans.append({"start": start, "end": end, "label": label})
        is_open = mark in "BIM"
    return spans


def _written(row: Row) -> str:
    text, spans = row["text"], sorted(row["spans"], key=lambda span: span["start"])
    for before, after in itertools.pairwise(spans):
        if after["start"] < before["end"]:
            raise CannotExport(
                f"Marked places overlap in {text[:60]!r}; tags of words cannot say that.", hint="Export JSON lines."
            )
    for span in spans:
        marked = text[span["start"] : span["end"]]
        if marked != marked.strip():
            raise CannotExport(
                f"The marked place {marked[:60]!r} begins or ends with a space; tags of words cannot say that.",
                hint="Export JSON lines, or mark the words only.",
            )
        if not _PIECE.fullmatch(span["label"]):
            raise CannotExport(f"The label {span['label']!r} has a space in it, so it cannot be a tag.")
    is_plain = text.isprintable() and text == text.strip()
    lines = [f"{_TEXT}{text}" if is_plain else f"{_JSON_TEXT}{json.dumps(text, ensure_ascii=True)}"]
    lines += [f"{piece}\t{tag}" for piece, tag in _pieces(text, spans)]
    return "\n".join(lines) + "\n\n"


def _pieces(text: str, spans: list[Row]) -> Iterator[tuple[str, str]]:
    """The text cut at spaces and where marked places begin and end; Chinese cut into characters."""
    cuts = [*((span["start"], span["end"], span["label"]) for span in spans), (len(text), len(text), "")]
    at = 0
    for start, end, label in cuts:
        yield from ((piece, "O") for piece in _cut(text[at:start]))
        for number, piece in enumerate(_cut(text[start:end])):
            yield piece, f"{'I' if number else 'B'}-{label}"
        at = end


def _cut(text: str) -> Iterator[str]:
    for found in _PIECE.finditer(text):
        piece = found.group()
        yield from piece if _CJK.search(piece) else (piece,)
