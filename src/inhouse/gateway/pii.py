"""Finds personal data and secrets in texts: addresses, numbers with their checksums, keys."""

import datetime
import ipaddress
from collections.abc import Mapping

from inhouse.gateway.patterns import Pattern, Patterns

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"
_HEADS = (
    r"sk-[\w\-]{16,}|sk_(?:live|test)_\w{16,}|ih_[a-z]+_[\w\-]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}"
    r"|glpat-[\w\-]{16,}|AKIA[0-9A-Z]{16}\b|xox[abprs]-[\w\-]{10,}|AIza[\w\-]{35}|hf_\w{20,}|npm_\w{30,}|pypi-[\w\-]{20,}"
    r"|eyJ[\w\-]{10,}\.eyJ[\w\-]{5,}\.[\w\-]{5,}"
)
_PRIVATE_KEY = r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:[\w+/=\s]|\\n)*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?"


def _digits(found: bytes) -> list[int]:
    return [value - 48 for value in found if 48 <= value <= 57]


def _is_luhn(digits: list[int]) -> bool:
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _card(found: bytes) -> int:
    """The longest beginning, up to a separator, that is the number of a payment card."""
    for end in _ends(found):
        digits = _digits(found[:end])
        if 13 <= len(digits) <= 19 and digits[0] in (2, 3, 4, 5, 6) and len(set(digits)) > 1 and _is_luhn(digits):
            return end
    return 0


def _iban(found: bytes) -> int:
    for end in _ends(found):
        text = found[:end].replace(b" ", b"").decode()
        if 15 <= len(text) <= 34 and int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1:
            return end
    return 0


def _ends(found: bytes) -> list[int]:
    """The end of the match, and the places of its separators, last first."""
    return [len(found), *(place for place in range(len(found) - 1, 0, -1) if found[place] in b" -")]


def _id_card(found: bytes) -> int:
    text = found.decode().upper()
    check = _ID_CHECKS[sum(int(digit) * weight for digit, weight in zip(text[:17], _ID_WEIGHTS, strict=True)) % 11]
    try:
        datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return 0
    return len(found) if check == text[17] else 0


def _phone(found: bytes) -> int:
    return len(found) if 8 <= len(_digits(found)) <= 15 else 0


def _ip(found: bytes) -> int:
    try:
        ipaddress.ip_address(found.decode())
    except ValueError:
        return 0
    return len(found)


KINDS: Mapping[str, Pattern] = {
    "email": Pattern(
        r"\b[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@[A-Za-z0-9][A-Za-z0-9.\-]{0,190}\.[A-Za-z]{2,24}\b",
        label="EMAIL",
        tail=r"\b[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}(?:@[A-Za-z0-9.\-]{0,216})?",
        window=288,
    ),
    "secret": Pattern(
        rf"\b(?:{_HEADS})|{_PRIVATE_KEY}",
        label="SECRET",
        tail=r"\b[A-Za-z][\w\-.]*|-{1,5}|-----B[A-Z ]{0,40}-{0,5}|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?s:.*)",
        window=4096,
    ),
    "id_card": Pattern(r"\b\d{17}[\dXx]\b", label="ID_CARD", tail=r"\b\d{1,17}[\dXx]?", check=_id_card, window=24),
    "card": Pattern(
        r"\b\d(?:[ \-]?\d){12,18}\b", label="CARD", tail=r"\b\d(?:[ \-]?\d){0,18}[ \-]?", check=_card, window=48
    ),
    "iban": Pattern(
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        label="IBAN",
        tail=r"\b[A-Z]{1,2}|\b[A-Z]{2}\d{1,2}(?: ?[A-Z0-9]{4}){0,7}(?: ?[A-Z0-9]{0,3})?",
        check=_iban,
        window=64,
    ),
    "phone": Pattern(
        r"(?:\+86[\- ]?|\b86[\- ]?|\b)1[3-9]\d[\- ]?\d{4}[\- ]?\d{4}\b"
        r"|\b0\d{2,3}[\- ]\d{7,8}\b"
        r"|\+[1-9]\d{0,2}[\- .]?(?:\(\d{1,4}\)[\- .]?)?\d(?:[\- .]?\d){5,13}\b",
        label="PHONE",
        tail=r"(?:\+|\b)\d[\d\- .()]{0,40}|\+",
        check=_phone,
        window=64,
    ),
    "ip": Pattern(
        r"\b(?:\d{1,3}\.){3}\d{1,3}\b|(?:\b[0-9A-Fa-f]{1,4})?(?:::?[0-9A-Fa-f]{1,4}){2,8}\b",
        label="IP",
        tail=r"\b\d{1,3}(?:\.\d{1,3}){0,3}\.?|(?:\b[0-9A-Fa-f]{1,4})?(?:::?[0-9A-Fa-f]{1,4}){0,8}:{0,2}",
        check=_ip,
        window=48,
    ),
}
_ALL = Patterns(tuple(KINDS.values()))


def redact(text: bytes) -> bytes:
    """A whole text with everything that the kinds find replaced by the kind's name. Plain ASCII, so JSON stays JSON."""
    if not _ALL.may_match(text, 0):
        return text
    for pattern in KINDS.values():
        text = _replaced(text, pattern)
    return text


def _replaced(text: bytes, pattern: Pattern) -> bytes:
    found = pattern.find(text, 0, len(text))
    parts: list[bytes] = []
    done = 0
    while found is not None:
        parts += [text[done : found[0]], b"[%b]" % pattern.label.encode()]
        done = found[1]
        found = pattern.find(text, done, len(text))
    return b"".join((*parts, text[done:])) if parts else text
