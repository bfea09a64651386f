"""A model's tokens: text to ids, ids to bytes, and back to text without ever breaking a character."""

import codecs
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from inhouse.core.errors import Invalid

TOKENIZER = "tokenizer.json"
LEFT, RIGHT = "\U000f2a00", "\U000f2a01"
"""Private characters around what a user wrote that looks like a control token."""


class TokenizerMissing(Invalid):
    """The directory holds no tokenizer that can be used."""


class Vocabulary:
    """The tokens of one model."""

    def __init__(self, directory: Path) -> None:
        self._tokenizer = _load(directory)
        added = self._tokenizer.get_added_tokens_decoder()
        self.special = frozenset(id for id, token in added.items() if token.special)
        self._control = tuple(sorted((token.content for token in added.values()), key=len, reverse=True))
        self._added = {id: token.content.encode() for id, token in added.items()}
        self._spell = _speller(self._tokenizer)
        self._bytes: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def document(self) -> str:
        """The tokenizer as JSON."""
        return self._tokenizer.to_str()

    def id(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def token(self, id: int) -> str:
        """The token as text; broken characters show as replacement marks."""
        return self.bytes(id).decode(errors="replace")

    def bytes(self, id: int) -> bytes:
        """What the token adds to the text."""
        found = self._bytes.get(id)
        if found is None:
            found = self._bytes[id] = self._added.get(id) or self._spell(id)
        return found

    def encode(self, text: str, *, start: bool = False) -> list[int]:
        """Text to ids. `start` adds what the model expects at the start of a text.

        What stands between `LEFT` and `RIGHT` is only text, even where it spells a control token.
        """
        if LEFT not in text:
            return self._tokenizer.encode(text, add_special_tokens=start).ids
        ids: list[int] = []
        for part in text.split(LEFT):
            plain, mark, rest = part.rpartition(RIGHT)
            if mark:
                ids += self._encode_plainly(plain)
            ids += self._tokenizer.encode(rest, add_special_tokens=False).ids
        return ids

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def disarm(self, text: str) -> str:
        """Mark control tokens that a user wrote, so that they reach the model as the characters they are."""
        text = text.replace(LEFT, "").replace(RIGHT, "")
        if not any(token in text for token in self._control):
            return text
        for number, token in enumerate(self._control):
            text = text.replace(token, f"{LEFT}{number}{RIGHT}")
        for number, token in enumerate(self._control):
            text = text.replace(f"{LEFT}{number}{RIGHT}", f"{LEFT}{token}{RIGHT}")
        return text

    def _encode_plainly(self, text: str) -> list[int]:
        """Encode a control token's name in halves: neither half is one."""
        middle = max(1, len(text) // 2)
        return [
            id
            for half in (text[:middle], text[middle:])
            if half
            for id in self._tokenizer.encode(half, add_special_tokens=False).ids
        ]


def disarmed(value: Any, vocabulary: Vocabulary) -> Any:
    """The same texts, lists and objects, with control tokens in them marked as mere text."""
    if isinstance(value, str):
        return vocabulary.disarm(value)
    if isinstance(value, dict):
        return {key: disarmed(item, vocabulary) for key, item in value.items()}
    if isinstance(value, list):
        return [disarmed(item, vocabulary) for item in value]
    return value


class Detokenizer:
    """Ids to text as they come. A character comes out when its last byte is there, never in parts."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, id: int) -> str:
        if id in self._vocabulary.special:
            return ""
        return self._decoder.decode(self._vocabulary.bytes(id))

    def finish(self) -> str:
        """What is left: a replacement mark where the text ends inside a character."""
        return self._decoder.decode(b"", final=True)


def _load(directory: Path) -> Tokenizer:
    path = directory / TOKENIZER
    if not path.is_file():
        raise TokenizerMissing(
            f"{directory.name!r} holds no {TOKENIZER}.",
            hint="Save the model with its fast tokenizer (tokenizers library).",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise TokenizerMissing(f"{TOKENIZER} of {directory.name!r} cannot be read: {error}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    _add_configured(tokenizer, read_json(directory / "tokenizer_config.json").get("added_tokens_decoder") or {})
    return tokenizer


def _add_configured(tokenizer: Tokenizer, configured: Mapping[str, Mapping[str, Any]]) -> None:
    """Older exports name some added tokens only in the tokenizer's configuration, with the ids they must get."""
    for id, token in sorted(configured.items(), key=lambda item: int(item[0])):
        if tokenizer.token_to_id(token["content"]) is None and int(id) == tokenizer.get_vocab_size():
            added = AddedToken(token["content"], special=bool(token.get("special")), normalized=False)
            (tokenizer.add_special_tokens if added.special else tokenizer.add_tokens)([added])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a model directory; empty where there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Invalid(f"{path.name} of {path.parent.name!r} is not JSON: {error}.") from error
    return found if isinstance(found, dict) else {}


def _speller(tokenizer: Tokenizer) -> "_Speller":
    decoder = json.loads(tokenizer.to_str()).get("decoder") or {}
    steps: Sequence[Mapping[str, Any]] = decoder.get("decoders") or [decoder]
    kinds = {step.get("type") for step in steps}
    if "ByteLevel" in kinds:
        return _ByteLevel(tokenizer)
    if kinds & {"ByteFallback", "Metaspace"}:
        return _Pieces(tokenizer)
    return _Words(tokenizer)


class _Speller:
    """The bytes behind a token's id."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, id: int) -> bytes:
        token = self._tokenizer.id_to_token(id)
        return b"" if token is None else self._spell(token, id)

    def _spell(self, token: str, id: int) -> bytes:
        return token.encode()


class _ByteLevel(_Speller):
    """Byte-level BPE: each character of the token stands for one byte."""

    _printable = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
    _others = tuple(byte for byte in range(256) if not (0x21 <= byte < 0x7F or 0xA1 <= byte < 0xAD or byte >= 0xAE))
    _table: Mapping[str, int] = {chr(byte): byte for byte in _printable} | {
        chr(0x100 + place): byte for place, byte in enumerate(_others)
    }

    def _spell(self, token: str, id: int) -> bytes:
        try:
            return bytes(self._table[character] for character in token)
        except KeyError:
            return token.encode()


class _Pieces(_Speller):
    """SentencePiece: `▁` is a space, `<0x0A>` a byte."""

    def _spell(self, token: str, id: int) -> bytes:
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()


class _Words(_Speller):
    """Anything else: what the tokenizer itself puts behind another token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._anchor = next((id for id in range(tokenizer.get_vocab_size()) if tokenizer.decode([id])), 0)
        self._before = tokenizer.decode([self._anchor])

    def _spell(self, token: str, id: int) -> bytes:
        return self._tokenizer.decode([self._anchor, id]).removeprefix(self._before).encode()
