"""Reading a graph from YAML or JSON text that anyone may have written."""

import json
import re
from typing import Any, ClassVar

import yaml

from inhouse.core.errors import Invalid, TooLarge

MAX_CHARS = 2_000_000
_MAX_VALUES = 100_000
_MAX_DEPTH = 50
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentUnreadable(Invalid):
    """The text is neither YAML nor JSON, or not a graph."""


class DocumentTooLarge(TooLarge):
    """The text is larger than any graph needs to be."""


class _PlainLoader(_Loader):
    """YAML with the values of JSON only: no dates, and no `1:59:59`, which costs quadratic time to read."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("null", r"null|~|", "n~"),
    ("bool", r"[Tt]rue|[Ff]alse", "tTfF"),
    ("int", r"-?(0|[1-9]\d{0,17})", "-0123456789"),
    ("float", r"-?\d{1,400}(\.\d{1,400}([eE][-+]?\d{1,3})?|[eE][-+]?\d{1,3})", "-0123456789"),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), [*_first, ""])


def read_document(text: str) -> dict[str, Any]:
    """Parse YAML (of which JSON is a part) into plain values. Nothing in it can run, and repeats cannot explode."""
    if len(text) > MAX_CHARS:
        raise DocumentTooLarge(f"The graph has {len(text)} characters.", hint=f"{MAX_CHARS} is the most.")
    try:
        _scan(text)
        document = yaml.load(text, Loader=_PlainLoader)  # noqa: S506  # a safe loader, minus dates
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DocumentUnreadable(
            f"The graph cannot be read: {' '.join(str(error).split())}.", hint="It must be YAML or JSON."
        ) from error
    if not isinstance(document, dict):
        raise DocumentUnreadable(
            f"A graph is an object with nodes and edges, not {type(document).__name__!r}.",
            hint="Start with `nodes:` and `edges:`.",
        )
    return plain(document)


def plain(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of plain JSON values, within limits of size and depth; `DocumentUnreadable` for anything else."""
    _limit(document)
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise DocumentUnreadable(f"The graph holds a value that JSON cannot carry: {error}.") from error


def _scan(text: str) -> None:
    """Refuse tags, and before anything is built what nests too deeply: the C loader would take the process along."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_PlainLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or count > 3 * _MAX_VALUES:
            raise _too_large()
        if getattr(event, "tag", None) is not None:
            raise DocumentUnreadable(f"The graph has the tag {event.tag!r}.", hint="Leave YAML tags out.")


def _limit(document: object) -> None:
    left = [(document, 0)]
    for value, depth in left:  # the list grows while it is walked
        if len(left) > _MAX_VALUES or depth > _MAX_DEPTH:
            raise _too_large()
        if isinstance(value, dict):
            left.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            left.extend((item, depth + 1) for item in value)


def _too_large() -> DocumentTooLarge:
    return DocumentTooLarge(
        "The graph holds too many values, or nests them too deeply.",
        hint=f"At most {_MAX_VALUES} values, {_MAX_DEPTH} deep; YAML references count every time.",
    )
