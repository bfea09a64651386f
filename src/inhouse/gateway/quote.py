"""The model that is always there: it answers with the best sentences of the given sources, word for word."""

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any

from inhouse.gateway.models import Message, Piece, estimated_usage, text_of
from inhouse.gateway.tokens import cut

QUOTE = "quote"
_MAX_SOURCES = 20
_MAX_SOURCE_CHARS = 20_000
_MAX_QUESTION_CHARS = 2_000
_MAX_QUOTES = 3
_MAX_LIST_ITEMS = 8
_MAX_ALONE = 1_000
_COVERED = 0.7
_WORTH_ADDING = 0.4
_UNDERSTOOD_COUNTS = 0.2

_NOTES = {
    "en": "No language model is connected, so this quotes the sources word for word.",
    "zh": "尚未连接语言模型，以上为资料原文摘录。",
}
_NO_SOURCES = {
    "en": "No language model is connected, and I can only quote: there are no sources to quote from.",
    "zh": "尚未连接语言模型，我只能摘录资料原文，而这里没有可供摘录的资料。",
}

_OPENING = re.compile(r"<source\b([^<>]{0,2000})>")
_CLOSING = "</source>"
_ATTRIBUTE = re.compile(r'\s(\w+)="([^"]*)"')
_ESCAPED_TAG = re.compile(r"&lt;(?=/?source\b)", re.IGNORECASE)
_QUESTION = re.compile(r"^[^\S\n]*(?:question|问题)\s*[:：]\s*", re.IGNORECASE | re.MULTILINE)
_HEADING = re.compile(r"\s*#{1,6}\s+(.*)")
_ITEM = re.compile(r"\s*(?:[-*•·]|\d{1,3}[.)、](?!\d)|[（(]?[一二三四五六七八九十\d]{1,3}[)）、])\s*(?=\S)")
_CLAUSE = re.compile(r"\s*\d{1,3}(?:\.\d{1,3})+\.?\s+")
_ROW = re.compile(r"\s*\|(.*)\|\s*|(.+ \| .+)")
_NAMED_ROW = re.compile(r"[^:：;；。]{1,60}: [^;]+(?:;[^:：;；。]{1,61}: [^;]+)+")
_RULE = re.compile(r"[\s|:-]+")
_SENTENCE_END = re.compile(r"(?<=[。！？；!?])[”」』）)]*\s*|(?<=[.;])\s+(?=[A-Z\d\"“(\u4e00-\u9fff])")
_CHINESE = re.compile(r"[\u3400-\u9fff]+")
_WORD = re.compile(r"[a-z0-9]+(?:[-_.'’][a-z0-9]+)*")
_ENDINGS = re.compile(r"(?<=\w{3})(?:ies|ing|ed|es|s|ly)$")

_UNDERSTOOD = re.compile(r"(?<=\S)\s+[(（]([^()（）]+)[)）]\s*$")
"""What a workflow adds behind the question, in brackets: what it was understood to be about."""

_ASKS_NUMBER = re.compile(
    r"how (?:many|much|long|often|soon|far|big|high)|when\b|what time|limit|maximum|minimum"
    r"|几|多少|多久|多长|多大|多高|何时|什么时候|期限|上限|限额",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"\d|[一二三四五六七八九十百千半两][天日周个月年次小分元倍]|\b(?:one|two|three|four|five|six|ten|half)\b"
)

_STOP_WORDS = frozenset(
    _WORD.findall(
        """a about after all also am an and any are as at be been but by can could did do does for from get had has have
        how i if in into is it its many may me much my need no not of on or our please shall should so tell than that
        the their them then there they this to up us was we were what when where which who whom whose why will with
        would you your"""
    )
)
_STOP_CHINESE = re.compile(
    "请问|你好|什么|怎么样|怎么|怎样|如何|为什么|多少|哪里|哪些|哪个|是否|可以|能否|能不能|需要|我们|你们|公司"
    "|一下|应该|有没有|[的了吗呢啊吧呀么嘛我你他她它在是有和与或及就都也要会能把被给让对从到为]"
)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A passage that may be quoted, under the number that answers cite."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """What is quoted as a whole: a sentence, a list item or a table row; `under` is its heading or lead-in."""

    source: Source
    position: int
    text: str
    terms: frozenset[str]
    under: frozenset[str]
    is_item: bool = False


class Quote:
    """Extractive stand-in for a language model: needs none, invents nothing."""

    async def generate(self, request: Mapping[str, Any]) -> AsyncGenerator[Piece]:
        messages = request.get("messages") or [{"role": "user", "content": str(request.get("prompt", ""))}]
        full = await asyncio.to_thread(answer, messages)
        text = full
        for stop in request.get("stop") or ():
            text = text.partition(stop)[0] if stop else text
        limit = request.get("max_tokens")
        limited = cut(text, limit) if limit else text
        for index in range(request.get("n") or 1):
            for line in limited.splitlines(keepends=True):
                yield Piece(line, index=index)
            yield Piece(finish_reason="stop" if limited == text else "length", index=index)
        yield Piece(usage=estimated_usage(messages, limited))


def answer(messages: Sequence[Message]) -> str:
    """Answer the last question from the `<source id title page>` blocks in the messages."""
    question, sources = _read(messages)
    language = "zh" if _CHINESE.search(question) else "en"
    if not sources:
        return _NO_SOURCES[language]
    quotes = _choose(question, sources, language)
    return "\n\n".join([*_render(quotes), _NOTES[language]])


def _read(messages: Sequence[Message]) -> tuple[str, list[Source]]:
    sources: dict[str, Source] = {}
    asked = ""
    for message in messages:
        role = message.get("role")
        if role == "assistant":
            continue
        blocks, around = _blocks(text_of(message))
        asked = around if role == "user" else asked
        for attributes, body in blocks:
            named = dict(_ATTRIBUTE.findall(attributes))
            number = named.get("id", str(len(sources) + 1))
            passage = _ESCAPED_TAG.sub("<", body)[:_MAX_SOURCE_CHARS]
            sources[number] = Source(number, unescape(named.get("title", "")), passage)
    question = _QUESTION.split(asked)[-1].strip()[:_MAX_QUESTION_CHARS]
    return question, list(sources.values())[:_MAX_SOURCES]


def _blocks(text: str) -> tuple[list[tuple[str, str]], str]:
    """Attributes and body of every source block, and the text around them: in linear time, whatever the text."""
    *closed, rest = text.split(_CLOSING)
    blocks: list[tuple[str, str]] = []
    around: list[str] = []
    for part in closed:
        opening = _OPENING.search(part)
        around.append(part[: opening.start()] if opening else part)
        if opening:
            blocks.append((opening[1], part[opening.end() :]))
    return blocks, "".join((*around, rest))


def _choose(question: str, sources: Sequence[Source], language: str) -> list[_Unit]:
    """Greedily take the units that cover most of what the question asks; what is covered already counts less."""
    units = [unit for source in sources for unit in _units(source)]
    if not units:
        return []
    weights = _rarity(units)
    asked = _asked(question)
    covered: frozenset[str] = frozenset()
    number = 1.5 if _ASKS_NUMBER.search(question) else 1.0
    rank = {source.id: index for index, source in enumerate(sources)}

    def weight(found: frozenset[str]) -> float:
        return sum(
            weights.get(term, 0.0) * asked[term] * (_COVERED if term in covered else 1.0)
            for term in asked.keys() & found
        )

    def worth(unit: _Unit) -> float:
        found = weight(unit.terms) + 0.5 * weight(unit.under - unit.terms)
        figures = number if _NUMBER.search(unit.text) else 1.0
        spoken = 1.0 if (language == "zh") == bool(_CHINESE.search(unit.text)) else 0.5
        length = 1 + max(0, len(unit.terms) - 30) / 60
        return found * figures * spoken / length / (1 + 0.1 * rank[unit.source.id])

    chosen: list[_Unit] = []
    best = 0.0
    while len(chosen) < _MAX_QUOTES:
        unit = max((unit for unit in units if unit not in chosen), key=worth, default=None)
        value = worth(unit) if unit else 0.0
        if unit is None or value <= _WORTH_ADDING * best:
            break
        best = best or value
        chosen.append(unit)
        covered |= unit.terms | unit.under
    chosen = chosen or units[:1]
    return _with_lists(chosen, units)


def _asked(question: str) -> dict[str, float]:
    """What the question is about, and how much each term counts: its own words more than those added to it."""
    added = _UNDERSTOOD.search(question)
    understood = dict.fromkeys(terms(added[1]) if added else (), _UNDERSTOOD_COUNTS)
    return understood | dict.fromkeys(terms(_UNDERSTOOD.sub("", question)), 1.0)


def _with_lists(chosen: Sequence[_Unit], units: Sequence[_Unit]) -> list[_Unit]:
    """Add the list that a chosen lead-in ("You need:") announces; put all in reading order."""
    shown = list(chosen)
    for unit in chosen:
        if not unit.text.endswith((":", "：")):
            continue
        start = units.index(unit) + 1
        for item in units[start : start + _MAX_LIST_ITEMS]:
            if not item.is_item or item.source is not unit.source:
                break
            if item not in shown:
                shown.append(item)
    order = {id(unit): index for index, unit in enumerate(units)}
    return sorted(shown, key=lambda unit: order[id(unit)])


def _render(quotes: Sequence[_Unit]) -> Iterable[str]:
    """Neighbours of one source in one paragraph, list items line by line, each paragraph with its citation."""
    paragraph = ""
    for index, unit in enumerate(quotes):
        following = quotes[index + 1] if index + 1 < len(quotes) else None
        paragraph += f"- {unit.text}" if unit.is_item else unit.text
        if following and following.source is unit.source and following.position == unit.position + 1:
            lines = unit.is_item or following.is_item
            paragraph += (
                "\n" if lines else ("" if _CHINESE.search(unit.text[-2:]) or unit.text[-1] in "。！？；" else " ")
            )
            continue
        yield f"{paragraph} [{unit.source.id}]"
        paragraph = ""


def _units(source: Source) -> list[_Unit]:
    found: list[_Unit] = []
    under = terms(source.title)
    heading, lead, columns = under, frozenset[str](), list[str]()

    def add(text: str, *, is_item: bool = False) -> None:
        context = heading | lead if is_item else heading
        found.append(_Unit(source, len(found), text, terms(text), context, is_item))

    for line in _lines(source.text):
        if match := _HEADING.fullmatch(line):
            heading, lead, columns = under | terms(match[1]), frozenset(), []
        elif match := _ROW.fullmatch(line):
            cells = [cell.strip() for cell in (match[1] or match[2] or "").split("|")]
            if not columns and (match[1] or not _NUMBER.search(line)):
                columns = cells
            elif not _RULE.fullmatch(line):
                add(_row(columns, cells), is_item=True)
        elif match := _ITEM.match(line):
            add(line[match.end() :].strip(), is_item=True)
        elif _NAMED_ROW.fullmatch(line):
            add(line, is_item=True)
        else:
            columns = []
            number = _CLAUSE.match(line)
            for sentence in _sentences(line[number.end() :] if number else line):
                add(sentence)
                lead = terms(sentence) if sentence.endswith((":", "：")) else frozenset()
    return found


def _lines(text: str) -> Iterable[str]:
    """Paragraphs and list items, with the line breaks of PDF pages inside them taken back."""
    held = ""
    for line in text.splitlines():
        plain = line.strip()
        starts_anew = not plain or any(kind.match(line) for kind in (_HEADING, _ITEM, _CLAUSE)) or _is_row(plain)
        if held and (starts_anew or _is_alone(held)):
            yield held
            held = ""
        if plain:
            glue = "" if not held or (_CHINESE.search(held[-1]) and _CHINESE.search(plain[0])) else " "
            held += glue + plain
    if held:
        yield held


def _is_alone(line: str) -> bool:
    return line.endswith((":", "：")) or (len(line) <= _MAX_ALONE and bool(_HEADING.fullmatch(line) or _is_row(line)))


def _is_row(line: str) -> bool:
    return bool(_ROW.fullmatch(line) or _NAMED_ROW.fullmatch(line))


def _row(columns: Sequence[str], cells: Sequence[str]) -> str:
    """A table row that can be read without its table: `Grade: M2; Hotel: 600`; as it stands where names are missing."""
    if len(columns) < len(cells):
        return " | ".join(cells)
    named = [f"{column}: {cell}" if column else cell for column, cell in zip(columns, cells, strict=False) if cell]
    return "; ".join(named)


def _sentences(paragraph: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE_END.split(paragraph) if sentence.strip()]


def _rarity(units: Sequence[_Unit]) -> dict[str, float]:
    """Inverse document frequency within the given sources."""
    seen = Counter(term for unit in units for term in unit.terms | unit.under)
    return {term: math.log(1 + len(units) / count) for term, count in seen.items()}


def terms(text: str) -> frozenset[str]:
    """What a text is about: stems of its words, and Chinese characters, alone and with their neighbour."""
    lowered = text.lower()
    words = {_ENDINGS.sub("", word) for word in _WORD.findall(lowered) if word not in _STOP_WORDS}
    for run in _CHINESE.findall(_STOP_CHINESE.sub(" ", lowered)):
        words.update(run, (run[i : i + 2] for i in range(len(run) - 1)))
    return frozenset(words)
