"""Reads server-sent events from bytes that may be cut anywhere."""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")  # a carriage return at the very end may be half of \r\n
_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Takes bytes as they come and gives the data of every event that is complete.

    Lines may end with LF, CRLF or CR; comments and fields other than `data` are skipped.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._at_start = True

    def feed(self, part: bytes) -> list[bytes]:
        ends_with_return = bool(self._rest) and self._rest[-1].endswith(b"\r")
        self._rest.append(part)
        if not ends_with_return and b"\n" not in part and b"\r" not in part:
            return []  # a long line: joined once, when it ends
        *lines, rest = _LINE_END.split(b"".join(self._rest))
        self._rest = [rest] if rest else []
        return self._events(lines)

    def close(self) -> list[bytes]:
        """The last event, where the sender forgot the empty line behind it."""
        last = b"".join(self._rest).removesuffix(b"\r")
        self._rest = []
        return self._events([last, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for line in lines:
            if self._at_start:
                line = line.removeprefix(_BOM)
                self._at_start = False
            if not line:
                if self._data:
                    found.append(b"\n".join(self._data))
                    self._data = []
                continue
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
        return found
