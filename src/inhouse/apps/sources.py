"""Which passages an answer rests on, numbered as the model that answered saw them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from inhouse.core.trace import Trace

_CITATION = re.compile(r"[\[【]\s*(\d{1,3}(?:\s*[,，、;]\s*\d{1,3})*)\s*[\]】](?!\()")  # not a Markdown link


@dataclass(frozen=True, slots=True)
class Source:
    """A passage behind an answer. The answer cites it as `[n]`, or doesn't (`cited`)."""

    n: int
    document: str
    title: str
    page: int | None
    chunk_id: str
    heading: list[str]
    text: str
    cited: bool


def sources_of(trace: Trace, answer: str) -> list[Source]:
    """The passages behind an answer, cited ones first."""
    cited = _citations(answer)
    found = [_source(passage, n, n in cited) for n, passage in enumerate(_passages(trace), start=1)]
    return sorted(found, key=lambda source: (not source.cited, source.n))


def _citations(answer: str) -> set[int]:
    return {int(n) for match in _CITATION.finditer(answer) for n in re.findall(r"\d+", match[1])}


def _passages(trace: Trace) -> list[Mapping[str, object]]:
    """What the last model read; if none read passages, what was found and can carry an answer."""
    for span in reversed(trace.spans):
        for value in (span.input or {}).values() if span.kind == "llm" else ():
            if found := _knowledge(value):
                return found
    for span in reversed(trace.spans):
        if span.kind == "knowledge-retrieval" and span.output and span.output.get("answerable"):
            return _knowledge(span.output.get("result"))
    return []


def _knowledge(value: object) -> list[Mapping[str, object]]:
    """The value as passages, numbered as in the prompt; empty when it is something else."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
        return []
    is_knowledge = bool(value) and (value[0].get("metadata") or {}).get("_source") == "knowledge"
    return list(value) if is_knowledge else []


def _source(passage: Mapping[str, object], n: int, cited: bool) -> Source:
    metadata = passage.get("metadata")
    facts = metadata if isinstance(metadata, Mapping) else {}
    heading = facts.get("heading") or []
    return Source(
        n=n,
        document=str(facts.get("document_name") or ""),
        title=str(passage.get("title") or ""),
        page=facts.get("page"),
        chunk_id=str(facts.get("segment_id") or ""),
        heading=[heading] if isinstance(heading, str) else list(heading),
        text=str(passage.get("content") or ""),
        cited=cited,
    )
