"""Make text that comes out of files fit to be read, quoted and searched."""

import codecs
import re
import unicodedata

from inhouse.knowledge.parser import Unreadable

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffc\ufffd\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPLIT_WORD = re.compile("\ufffe\\n?")
"""What PDFium makes of a hyphen at the end of a line: the word goes on."""

_SPACES = re.compile(r"[^\S\n]+")
_AROUND_NEWLINE = re.compile(r" ?\n ?")
_COMPATIBILITY = re.compile("[\u2e80-\u2fdf\uf900-\ufaff\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a]+")
"""Radicals and ligatures that PDF fonts leave behind, and wide letters and digits. Full NFKC would also turn Chinese
punctuation into Latin and 10² into 102: fine for searching (see `tokens.py`), wrong for quoting."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BINARY_MAGIC = (b"%PDF-", b"\x89PNG", b"\xff\xd8", b"PK\x03\x04")
_ENCODINGS = ("utf-8", "gb18030")


def clean(text: str) -> str:
    """Drop invisible characters, unify look-alikes and collapse white space; line breaks stay."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = _SPLIT_WORD.sub("", text)
    text = _COMPATIBILITY.sub(lambda found: unicodedata.normalize("NFKC", found[0]), _INVISIBLE.sub("", text))
    return _AROUND_NEWLINE.sub("\n", _SPACES.sub(" ", text)).strip()


def is_text(data: bytes) -> bool:
    """Tell text in any encoding from a binary file."""
    return _bom_encoding(data) is not None or not (
        b"\0" in data or data.startswith((b"%PDF-", b"\x89PNG", b"\xff\xd8"))
    )


def decode(data: bytes) -> str:
    """Decode by byte order mark, else as UTF-8, else as GB 18030 (which covers GBK and GB 2312)."""
    marked = _bom_encoding(data)
    for encoding in (marked,) if marked else _ENCODINGS:
        try:
            return data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
    raise Unreadable("The text is in an unknown encoding.", hint="Save it as UTF-8.")


def _bom_encoding(data: bytes) -> str | None:
    return next((encoding for bom, encoding in _BOMS if data.startswith(bom)), None)
