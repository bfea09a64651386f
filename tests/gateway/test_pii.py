import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.gateway.pii import KINDS, redact


def found(kind: str, text: str) -> list[str]:
    data, pattern = text.encode(), KINDS[kind]
    places = []
    place = pattern.find(data, 0, len(data))
    while place is not None:
        places.append(data[slice(*place)].decode())
        place = pattern.find(data, place[1], len(data))
    return places


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "邮箱ann.b+c@mail.example.co.uk。", ["ann.b+c@mail.example.co.uk"]),
        ("email", "a@b, x@y.z1", []),
        ("phone", "电话13800138000，或+86 139 1234 5678", ["13800138000", "+86 139 1234 5678"]),
        ("phone", "call +44 20 7946 0958 or +1 (212) 555-0123.", ["+44 20 7946 0958", "+1 (212) 555-0123"]),
        ("phone", "010-12345678", ["010-12345678"]),
        ("phone", "12345678901234, 23800138000, +12", []),
        ("id_card", "身份证11010519491231002X", ["11010519491231002X"]),
        ("id_card", "110105194912310021 110105194913310029", []),
        ("card", "4111 1111 1111 1111 and 5500-0000-0000-0004", ["4111 1111 1111 1111", "5500-0000-0000-0004"]),
        ("card", "4111 1111 1111 1111 22", ["4111 1111 1111 1111"]),
        ("card", "4111 1111 1111 1112, 0000000000000000", []),
        ("iban", "DE89 3704 0044 0532 0130 00 is it", ["DE89 3704 0044 0532 0130 00"]),
        ("iban", "GB82WEST12345698765432", ["GB82WEST12345698765432"]),
        ("iban", "DE88 3704 0044 0532 0130 00", []),
        ("ip", "from 192.168.0.1 to 2001:db8::1", ["192.168.0.1", "2001:db8::1"]),
        ("ip", "999.1.1.1 at 12:30:45", []),
        ("secret", "key sk-abcdefghijklmnop1234 ok", ["sk-abcdefghijklmnop1234"]),
        ("secret", "AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", None),
        ("secret", "sk-short, risk-based-assessment", []),
    ],
)
def test_each_kind_finds_its_own_and_nothing_else(kind: str, text: str, expected: list[str] | None) -> None:
    assert found(kind, text) == ([text] if expected is None else expected)


def test_redacted_json_stays_json() -> None:
    assert redact(b'{"to":"ann@example.org","n":"4111111111111111"}') == b'{"to":"[EMAIL]","n":"[CARD]"}'


def test_a_text_without_personal_data_is_the_very_same() -> None:
    text = b"Nothing to see, 12 at 3."

    assert redact(text) is text


@given(st.integers(10**15, 10**16 - 1).filter(lambda number: str(number)[0] in "23456"))
def test_one_digit_less_or_more_is_no_card(number: int) -> None:
    """Of the ten numbers that differ in the last digit only, one is a card."""
    stem = str(number)[:-1]

    assert sum(bool(found("card", stem + str(digit))) for digit in range(10)) == 1
