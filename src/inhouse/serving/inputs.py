"""What each kind of model takes. An input that does not fit is refused before it meets others in a batch."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from inhouse.core.errors import Invalid
from inhouse.serving.artifact import Manifest
from inhouse.serving.batcher import text_length

Input = str | Mapping[str, Any]
"""A text; or two of them, `{"text", "other"}`; or named values, `{"features": {…}}`."""

LARGEST = 3e38
"""Tables are computed in 32 bits: a larger number would be infinite there."""

MAX_CHARS = 1_000_000
"""Of a text that is read to its end, some hundreds of pages: more would keep everyone else waiting for minutes."""


class BadInput(Invalid):
    """The model does not take such an input."""


class Inputs(Protocol):
    """What one model takes."""

    @property
    def samples(self) -> Sequence[Input]:
        """Inputs to warm up with."""
        ...

    def measure(self, given: Input) -> int:
        """About how many tokens it has. Raises `BadInput` when the model cannot take it."""
        ...


def inputs_of(manifest: Manifest) -> Inputs:
    if manifest.kind == "rerank":
        return Pairs(manifest)
    if manifest.kind == "tabular":
        return Tables(manifest)
    return Texts(manifest)


class Texts:
    """For models that read one text; taggers read all of it, window by window, the others its beginning."""

    samples = ("warm-up", "预热 " * 16)

    def __init__(self, manifest: Manifest) -> None:
        self._kind = manifest.kind
        self._reads_all = manifest.kind == "tag"
        self._length = partial(text_length, max_length=MAX_CHARS if self._reads_all else manifest.max_length)

    def measure(self, given: Input) -> int:
        if not isinstance(given, str):
            raise BadInput(
                f"A model of the kind {self._kind!r} reads texts, not {list(given)}.", hint='Send {"inputs": "…"}.'
            )
        if self._reads_all and len(given) > MAX_CHARS:
            raise BadInput(f"The text has {len(given)} characters, more than {MAX_CHARS}.", hint="Send it in parts.")
        return self._length(given)


class Pairs:
    """For models that read two texts together."""

    samples = ({"text": "warm-up", "other": "预热 " * 16}, {"text": "a", "other": "b"})

    def __init__(self, manifest: Manifest) -> None:
        self._kind = manifest.kind
        self._length = partial(text_length, max_length=manifest.max_length)

    def measure(self, given: Input) -> int:
        if isinstance(given, str) or set(given) != {"text", "other"}:
            found = "one text" if isinstance(given, str) else str(sorted(given))
            raise BadInput(
                f"A model of the kind {self._kind!r} reads two texts, `text` and `other`, not {found}.",
                hint='Send {"inputs": {"text": "…", "other": "…"}}.',
            )
        text, other = given["text"], given["other"]
        if not (isinstance(text, str) and isinstance(other, str)):
            raise BadInput(f"`text` and `other` must be texts, not {text!r} and {other!r}.")
        return self._length(text) + self._length(other)


class Tables:
    """For models that read named values. `null` is a value that nobody knows."""

    def __init__(self, manifest: Manifest) -> None:
        listed: list[dict[str, Any]] = manifest.settings["features"]
        self._types: dict[str, str] = {feature["name"]: feature["type"] for feature in listed}
        self._values = {feature["name"]: feature.get("values") or ["a"] for feature in listed}

    @property
    def samples(self) -> Sequence[Input]:
        known = {name: 1.0 if type == "number" else self._values[name][0] for name, type in self._types.items()}
        return ({"features": known}, {"features": dict.fromkeys(self._types)})

    def measure(self, given: Input) -> int:
        features = None if isinstance(given, str) else given.get("features")
        if not isinstance(features, Mapping):
            raise BadInput(
                "A model of the kind 'tabular' reads named values.",
                hint='Send {"inputs": {"features": {"…": …}}}.',
            )
        self._check_names(features)
        for name, value in features.items():
            if value is not None:
                self._check(name, value)
        return 1

    def _check_names(self, features: Mapping[str, Any]) -> None:
        if missing := [name for name in self._types if name not in features]:
            raise BadInput(
                f"The values of {', '.join(map(repr, missing))} are missing.",
                hint="Send null for a value that is not known.",
                missing=missing,
            )
        if unknown := [name for name in features if name not in self._types]:
            raise BadInput(
                f"The model knows no feature {unknown[0]!r}.", hint="It knows: " + ", ".join(self._types) + "."
            )

    def _check(self, name: str, value: object) -> None:
        if self._types[name] != "number":
            if not isinstance(value, str | int | float):
                raise BadInput(f"{name!r} is a category, {value!r} cannot be one.", hint="Send a text, or null.")
            if isinstance(value, str):
                text_length(value, 1)  # half a character would fail its whole batch
        elif not isinstance(value, int | float) or isinstance(value, bool):
            raise BadInput(f"{name!r} is a number, {value!r} is not.", hint="Send a number, or null.")
        elif not -LARGEST < value < LARGEST:
            raise BadInput(f"The value of {name!r} is too large to compute with.", hint="Send null if it is not known.")
