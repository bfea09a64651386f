"""What a kind of file is: something that rows can be read from and written to.

To read another kind, put one module into `files/` and decorate its class with `@file_kind(...)`. Libraries are imported
inside methods; what a file may cost is bounded by the constants here.
"""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, BinaryIO, ClassVar, NamedTuple, TypeVar

from charset_normalizer import from_bytes

from inhouse.core.errors import Invalid, Misconfigured, TooLarge
from inhouse.core.registry import Registry

MAX_ROWS = 1_000_000
MAX_BYTES = 512 << 20
MAX_UNPACKED = 1 << 30
MAX_COLUMNS = 1000
_MAX_DEPTH = 50
_BLOCK = 1 << 20
_HEAD = 1 << 16
_UNFIT = re.compile("[\0\ud800-\udfff]")
_ENCODINGS = ["gb18030", "big5", "shift_jis", "euc_kr", "cp1252"]

Row = dict[str, Any]


class FileUnreadable(Invalid):
    """The file as a whole cannot be read as rows."""


class FileTooLarge(TooLarge):
    """The file, or what is packed in it, is over a limit."""


class ExtraMissing(Misconfigured):
    """A kind of file needs a package that is not installed."""


class CannotExport(Invalid):
    """A row cannot be written in the format that was asked for."""


class BadRow(NamedTuple):
    """A row that cannot be read, in place of the row."""

    message: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file: its rows as they are read, and what should be said about it."""

    rows: Iterable[Row | BadRow]
    encoding: str = ""
    notes: list[str] = field(default_factory=list)


class FileKind(ABC):
    """A kind of file. `begins` is how every such file begins, `needs` the module of an extra that must be there."""

    name: ClassVar[str] = ""
    suffixes: ClassVar[tuple[str, ...]] = ()
    begins: ClassVar[bytes] = b""
    media_type: ClassVar[str] = "text/plain; charset=utf-8"
    is_flat: ClassVar[bool] = False
    """Whether cells hold text and numbers only, so that lists are written as JSON."""
    needs: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    @abstractmethod
    def read(self, file: BinaryIO) -> Content:
        """Read from the beginning. Raises `FileUnreadable`, at once or while the rows are taken."""

    @abstractmethod
    def write(self, rows: Iterable[Row], out: BinaryIO) -> None:
        """Write every row. Raises `CannotExport` where a row does not fit."""

    @classmethod
    def missing(cls) -> str:
        """The command that installs what it needs; empty when nothing is missing."""
        return f"pip install 'inhouse[{cls.extra}]'" if cls.needs and find_spec(cls.needs) is None else ""

    def ready(self) -> None:
        if self.missing():
            raise ExtraMissing(f"Files of the kind {self.name!r} need a package that is missing.", hint=self.missing())


file_kinds: Registry[type[FileKind]] = Registry("file kind", package="inhouse.data.files")

Kind = TypeVar("Kind", bound=type[FileKind])


def file_kind(name: str) -> Callable[[Kind], Kind]:
    """Make a kind of file known by a name, which is also the name of the format with a column for each field."""

    def add(cls: Kind) -> Kind:
        cls.name = name
        file_kinds.add(name, cls)
        return cls

    return add


def kind_of(file: BinaryIO, filename: str) -> type[FileKind]:
    """The kind that the content shows, or else the end of the name."""
    head = _head(file)
    if not head.strip():
        raise FileUnreadable("The file is empty.")
    every = [file_kinds[name] for name in file_kinds]
    for kind in every:
        if kind.begins and head.startswith(kind.begins):
            return kind
    suffix = filename.rpartition(".")[2].lower()
    found = next((kind for kind in every if suffix in kind.suffixes and not kind.begins), None)
    if found is None and suffix != "txt":
        raise FileUnreadable(
            f"{filename!r} is not a kind of file that can be imported.", hint="Use one of: " + ", ".join(file_kinds)
        )
    guessed = _guess(head)
    if found is None or {found.name, guessed} == {"json", "jsonl"}:
        return file_kinds[guessed or "jsonl"]
    return found


def size_of(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def open_text(file: BinaryIO, newline: str = "") -> tuple[io.TextIOWrapper, str]:
    """The file as text, and the name of its encoding (UTF-8, UTF-16, or a detected legacy one such as GBK)."""
    codec, name, errors = _encoding(file)
    file.seek(0)
    return io.TextIOWrapper(_Lent(file), encoding=codec, errors=errors, newline=newline), name


class _Lent(io.BufferedIOBase):
    """A file that stays open when the text over it is done with."""

    name = ""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return self._file.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        return self._file.read(max(size, _HEAD))

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def mended(value: Any, depth: int = 0) -> Any:
    """A value with a visible mark for what no text can hold: NUL, half a character. NaN and infinity mean: nothing."""
    if depth > _MAX_DEPTH:
        raise FileUnreadable(f"The JSON is nested deeper than {_MAX_DEPTH} levels.", hint="Make each row flat.")
    if isinstance(value, str):
        return value if value.isprintable() else _UNFIT.sub("\ufffd", value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {mended(name): mended(item, depth + 1) for name, item in value.items()}
    return [mended(item, depth + 1) for item in value] if isinstance(value, list) else value


def named(header: Iterable[Any]) -> list[str]:
    """The names of columns; those without one are called by their place."""
    names = [str(name).strip() if name is not None else "" for name in header]
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    if len(names) > MAX_COLUMNS:
        raise FileTooLarge(f"The file has more than {MAX_COLUMNS:,} columns.", hint="Leave out what is not needed.")
    if len(set(names)) != len(names):
        raise FileUnreadable("Two columns of the header have the same name.", hint=f"Header: {', '.join(names)}.")
    return names


def _encoding(file: BinaryIO) -> tuple[str, str, str]:
    head = _head(file)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", "utf-16", "replace"  # a cut-off end must not hide the rest
    if (bad_at := _not_utf8(file)) < 0:
        return "utf-8-sig", "utf-8", "strict"
    file.seek(max(0, bad_at - 1000))
    found = from_bytes(file.read(_BLOCK), cp_isolation=_ENCODINGS).best()
    if found is None:
        raise FileUnreadable("The encoding of the file cannot be told.", hint="Save it as UTF-8.")
    return found.encoding, "gbk" if found.encoding == "gb18030" else found.encoding, "strict"


def _not_utf8(file: BinaryIO) -> int:
    """Where the file stops being UTF-8, or -1. Also the place to notice that it is no text at all."""
    file.seek(0)
    done = 0
    kept = b""
    while block := file.read(_BLOCK):
        if b"\0" in block:
            raise FileUnreadable("This is not a text file.", hint="Use one of: " + ", ".join(file_kinds))
        block = kept + block
        try:
            block.decode("utf-8")
            kept = b""
        except UnicodeDecodeError as error:
            if error.end < len(block) or len(block) - error.start > 3:
                return done + error.start
            kept = block[error.start :]  # perhaps cut by the end of the block
        done += len(block) - len(kept)
    return done if kept else -1


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    return head


def _guess(head: bytes) -> str:
    """What plain text most looks like; empty where its beginning does not tell."""
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("["):
        return "json"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if text.startswith("{"):
        if len(lines) == 1:
            return ""
        return "jsonl" if lines[0].endswith("}") else "json"
    tagged = [line for line in lines[:50] if not line.startswith("#")]
    return "conll" if tagged and all(map(_TAGGED.fullmatch, tagged)) else "csv"


_TAGGED = re.compile(r".*[\t ](O|[BIESMLU]-\S+)")


def counted(rows: Iterable[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The rows, as long as they are not too many."""
    for number, row in enumerate(rows, 1):
        if number > MAX_ROWS:
            raise FileTooLarge(f"The file has more than {MAX_ROWS:,} rows.", hint="Split it into several imports.")
        yield row
