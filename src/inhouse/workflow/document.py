"""Reading a graph from YAML or JSON text that anyone may have written."""

import json
from typing import Any

import yaml

from inhouse.core.errors import Invalid, TooLarge

MAX_CHARS = 2_000_000
_MAX_VALUES = 200_000
_MAX_DEPTH = 50
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentUnreadable(Invalid):
    """The text is neither YAML nor JSON, or not a graph."""


class DocumentTooLarge(TooLarge):
    """The text is larger than any graph needs to be."""


class _PlainLoader(_Loader):
    """YAML without dates, so that what is read can be stored as JSON."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def read_document(text: str) -> dict[str, Any]:
    """Parse YAML (of which JSON is a part) into plain values. Nothing in it can run, and repeats cannot explode."""
    if len(text) > MAX_CHARS:
        raise DocumentTooLarge(f"The graph has {len(text)} characters.", hint=f"{MAX_CHARS} is the most.")
    try:
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


def _limit(document: object) -> None:
    left = [(document, 0)]
    for value, depth in left:  # the list grows while it is walked
        if len(left) > _MAX_VALUES or depth > _MAX_DEPTH:
            raise DocumentTooLarge(
                "The graph holds too many values, or nests them too deeply.",
                hint=f"At most {_MAX_VALUES} values, {_MAX_DEPTH} deep; YAML references count every time.",
            )
        if isinstance(value, dict):
            left.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            left.extend((item, depth + 1) for item in value)
