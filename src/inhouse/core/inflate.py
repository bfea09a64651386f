"""Undo gzip and deflate piece by piece, so that a small answer cannot blow up the memory."""

import zlib

_PIECE_BYTES = 256 << 10
_ZLIB, _GZIP, _BARE = 15, 31, -15
ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})


class BadPacking(Exception):
    """The packed bytes are damaged, or something follows them."""


class Inflate:
    """Unpacks one body. A call gives a bounded piece of it; what is left over comes with the next call."""

    def __init__(self, encoding: bytes) -> None:
        self._is_deflate = encoding == b"deflate"
        self._stream: zlib._Decompress | None = None
        self._rest = b""
        self.has_more = False
        """Whether the bytes taken so far hold more than was given out."""

    @property
    def is_whole(self) -> bool:
        """Whether the end was reached. No bytes at all are a whole, empty body."""
        return self._stream.eof if self._stream is not None else not self._rest

    def take(self, packed: bytes) -> bytes:
        """Unpack what came; may be empty where the bytes so far say nothing yet."""
        packed = self._rest + packed
        if self._stream is None:
            self._rest = packed
            if len(packed) < 2:
                return b""
            self._stream = zlib.decompressobj(self._window(packed))
        try:
            piece = self._stream.decompress(packed, _PIECE_BYTES)
        except zlib.error as error:
            raise BadPacking from error
        if self._stream.unused_data:
            raise BadPacking
        self._rest = self._stream.unconsumed_tail
        self.has_more = len(piece) == _PIECE_BYTES
        return piece

    def _window(self, start: bytes) -> int:
        """Servers disagree on what deflate means: with the zlib header around it, or bare."""
        if not self._is_deflate:
            return _GZIP
        has_header = start[0] & 0x0F == 8 and int.from_bytes(start[:2], "big") % 31 == 0
        return _ZLIB if has_header else _BARE
