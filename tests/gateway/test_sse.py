from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.gateway.sse import SseDecoder

STREAM = (
    "\ufeff: a comment\n"
    "data: 你好，世界\n\n"
    "event: ping\r\ndata:{no space}\r\n\r\n"
    "\r\n"
    "data: two\rdata:  lines\r\r"
    "id: 7\n\n"
    "data\n\n"
    "data: unfinished"
).encode()
EVENTS = ["你好，世界".encode(), b"{no space}", b"two\n lines", b"", b"unfinished"]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]):
    decoder = SseDecoder()
    bounds = [0, *sorted(cuts), len(STREAM)]

    found = [data for start, end in pairwise(bounds) for data in decoder.feed(STREAM[start:end])]

    assert found + decoder.close() == EVENTS


@pytest.mark.timeout(5)
def test_a_line_of_a_megabyte_in_small_pieces_is_read_quickly():
    decoder = SseDecoder()
    line = b"data: " + b"x" * (1 << 20)

    for start in range(0, len(line), 64):
        assert decoder.feed(line[start : start + 64]) == []

    assert decoder.feed(b"\n\n") == [line[6:]]
