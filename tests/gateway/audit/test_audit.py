import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inhouse.core.errors import LimitExceeded
from inhouse.core.ids import new_id
from inhouse.gateway.audit import search
from inhouse.gateway.audit.journal import Journal
from inhouse.gateway.audit.rows import NOTHING, Row, shown
from inhouse.gateway.audit.search import AuditLog, BadCursor, RequestNotFound, Wanted
from inhouse.gateway.audit.segments import segments
from inhouse.gateway.call import Call, Outcome, Usage
from inhouse.gateway.chunks import disassemble
from inhouse.gateway.policies.audit import Audit, AuditSettings
from inhouse.gateway.policy import Surroundings

from ..policies import doubles
from ..policies.doubles import Clock

HOUR = 3600.0
NOON = time.time() // HOUR * HOUR + HOUR / 2


class House:
    """One workspace with its audit."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.clock.time = NOON
        self.log = AuditLog(home)
        self.policy = self.start()

    def start(self, **more: Any) -> Audit:
        self.policy = Audit(Surroundings(home=self.home, now=self.clock))
        self.policy.configure(AuditSettings(enabled=True, **more))
        return self.policy

    def ask(self, text: str = "hi", answer: list[bytes] | None = None, outcome: Outcome | None = None) -> Call:
        call = doubles.call(request_id=new_id("req"))
        call.body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}]})
        self.policy.admit(call)
        if call.captured is not None:
            call.captured += [doubles.answer("Sure.").body] if answer is None else answer
        self.policy.settle(call, outcome or Outcome(200, None, 0.25))
        return call

    def rows(self, **wanted: Any) -> list[Row]:
        assert self.policy.journal is not None
        self.policy.journal.flush()
        return self.log.find("default", Wanted(**wanted)).rows

    def get(self, call: Call) -> Row:
        assert self.policy.journal is not None
        self.policy.journal.flush()
        return self.log.get("default", call.request_id)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.policy.close()


def test_a_request_is_kept_with_all_that_matters(house: House) -> None:
    call = doubles.call(request_id="r1", arm="b", attempts=2, cache="hit", cost=0.5, usage=Usage(3, 4))
    house.policy.settle(call, Outcome(200, None, 1.5))

    [row] = house.rows()

    assert (row.request_id, row.key, row.user, row.model, row.arm) == ("r1", "key_1", "user_ann", "m", "b")
    assert (row.attempts, row.cache, row.cost, row.prompt_tokens, row.completion_tokens) == (2, "hit", 0.5, 3, 4)
    assert (row.time, row.total_s, row.status, row.endpoint) == (NOON, 1.5, 200, "chat/completions")


def test_what_was_asked_and_answered_can_be_read(house: House) -> None:
    row = house.get(house.ask("问题\n2"))

    assert shown(row.request)["messages"][0]["content"] == "问题\n2"
    assert shown(row.response)["choices"][0]["message"]["content"] == "Sure."


def test_a_streamed_answer_is_shown_as_a_whole(house: House) -> None:
    row = house.get(house.ask(answer=disassemble(doubles.answer("Whole.").body)))

    assert shown(row.response)["choices"][0]["message"]["content"] == "Whole."


def test_an_error_is_kept_with_its_code(house: House) -> None:
    error = LimitExceeded("no", code="rate_limit_exceeded")
    row = house.get(house.ask(answer=[], outcome=Outcome(429, error, 0.1)))

    assert (row.status, row.error, shown(row.response)) == (429, "rate_limit_exceeded", None)


def test_requests_are_found_by_what_is_known_of_them(house: House) -> None:
    calls = [house.ask("about apples"), house.ask("about Pears", outcome=Outcome(500))]

    assert [row.request_id for row in house.rows()] == [calls[1].request_id, calls[0].request_id]
    assert [row.status for row in house.rows(text="pears")] == [500]
    assert [row.status for row in house.rows(status="ok")] == [200]
    assert [row.status for row in house.rows(status="500")] == [500]
    assert len(house.rows(key="key_1", user="user_ann", model="m")) == 2
    assert not house.rows(key="key_2")
    assert not house.rows(since=NOON + 1)
    assert not house.rows(until=NOON)


def test_a_search_goes_on_where_it_ended(house: House) -> None:
    calls = []
    for _ in range(5):
        calls.append(house.ask().request_id)
        house.clock.move(HOUR / 2)
        house.rows()

    found, cursor = [], ""
    for _ in range(3):
        page = house.log.find("default", Wanted(), limit=2, cursor=cursor)
        found += [row.request_id for row in page.rows]
        cursor = page.cursor

    assert found == calls[::-1]
    assert cursor == ""


@pytest.mark.parametrize("cursor", ["nonsense", "../../etc/passwd:1", "2026-01-01/00-1.jsonl:x"])
def test_a_made_up_cursor_is_refused(house: House, cursor: str) -> None:
    with pytest.raises(BadCursor):
        house.log.find("default", Wanted(), cursor=cursor)


def test_an_unknown_request_is_not_found(house: House) -> None:
    house.ask()

    with pytest.raises(RequestNotFound):
        house.log.get("default", "req_unknown")


def test_other_workspaces_see_nothing(house: House) -> None:
    house.get(house.ask())

    assert not house.log.find("other", Wanted()).rows


def test_a_long_body_is_cut(house: House) -> None:
    house.start(max_body_bytes=256)

    row = house.get(house.ask("长" * 1000))

    assert row.cut
    assert len(shown(row.request).encode()) <= 256


def test_personal_data_stays_out_also_when_it_came_in_pieces(house: House) -> None:
    house.start(mask=True)
    call = {"id": "1", "choices": [{"index": 0, "delta": {"content": "To ann@exa"}, "finish_reason": None}]}
    rest = {"id": "1", "choices": [{"index": 0, "delta": {"content": "mple.org"}, "finish_reason": "stop"}]}
    events = [b"data: %b\n\n" % msgspec.json.encode(one) for one in (call, rest)]

    row = house.get(house.ask("I am 13800138000, sk-" + "a" * 20, [*events, b"data: [DONE]\n\n"]))

    assert shown(row.request)["messages"][0]["content"] == "I am [PHONE], [SECRET]"
    assert shown(row.response)["choices"][0]["message"]["content"] == "To [EMAIL]"


def test_bodies_can_be_left_out(house: House) -> None:
    house.start(bodies=False)

    row = house.get(house.ask())

    assert (row.request, row.response) == (NOTHING, NOTHING)


def test_a_share_of_nothing_keeps_nothing(house: House) -> None:
    house.start(share=0)
    house.ask()

    assert not house.rows()


def test_a_changed_line_shows(house: House) -> None:
    house.start(chain=True)
    for _ in range(3):
        house.ask()
        house.rows()
    [segment] = segments(house.home / "audit" / "default")
    path = house.home / "audit" / "default" / segment.name
    assert house.log.verify("default") == ""

    path.write_bytes(path.read_bytes().replace(b"user_ann", b"user_bob", 1))

    assert house.log.verify("default") == f"{segment.name}:2"


def test_the_chain_goes_on_after_a_restart_and_a_torn_line(house: House) -> None:
    house.start(chain=True)
    house.ask()
    house.policy.close()
    [segment] = segments(house.home / "audit" / "default")
    with (house.home / "audit" / "default" / segment.name).open("ab") as file:
        file.write(b'{"time":1,"requ')
    house.start(chain=True)
    house.ask()

    assert len(house.rows()) == 2
    assert house.log.verify("default") == ""
    assert len(segments(house.home / "audit" / "default")) == 2


def test_old_days_are_deleted(house: House) -> None:
    house.start(retention_days=2)
    house.ask()
    house.rows()
    house.clock.move(4 * 24 * HOUR)
    house.ask()

    assert len(house.rows()) == 1
    assert len(segments(house.home / "audit" / "default")) == 1


def test_the_disk_is_bounded(house: House) -> None:
    house.start(max_bytes=1 << 20, max_body_bytes=1 << 20)
    for _ in range(4):
        house.ask("x" * 600_000)
        house.rows()
        house.clock.move(HOUR)

    assert len(house.rows()) == 2


def test_files_are_readable_by_nobody_else(house: House) -> None:
    house.ask()
    house.rows()
    directory = house.home / "audit" / "default"
    [segment] = segments(directory)

    assert (directory / segment.name).stat().st_mode & 0o077 == 0


def test_bodies_go_first_when_more_comes_than_can_be_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "audit" / "default", now=lambda: NOON, pause_s=60, max_bytes=150)
    for number in range(5):
        journal.put(doubles.call(request_id=f"r{number}", captured=[b"x" * 20]), Outcome(200))

    journal.close()

    assert journal.dropped_bodies == 4
    assert len(AuditLog(tmp_path).find("default", Wanted()).rows) == 5


def test_the_policy_is_off_without_a_directory() -> None:
    policy = Audit(Surroundings())
    policy.configure(AuditSettings(enabled=True))

    assert not policy.is_active


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.binary(max_size=9).map(lambda data: data.replace(b"\n", b"")), max_size=12),
    torn=st.booleans(),
    block=st.integers(1, 12),
)
def test_lines_are_read_backwards_whatever_the_block(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bool, block: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    data = b"".join(line + b"\n" for line in lines)
    path.write_bytes(data + (b"torn" if torn else b""))

    found = list(search.backwards(path, path.stat().st_size, block=block))

    assert [line for _, line in found] == lines[::-1]
    assert all(data[place:].startswith(line + b"\n") for place, line in found)
