import threading

import pytest

from inhouse.core.db import Database
from inhouse.core.errors import Unavailable
from inhouse.core.principal import Principal
from inhouse.gateway.ledger import OTHER, Ledger
from inhouse.gateway.policy import Series
from inhouse.gateway.prices import Used

HOUR = 500_000


def series(
    key: str = "k1", *, hour: int = HOUR, workspace: str = "default", model: str = "m", team: str = ""
) -> Series:
    return (workspace, hour, key, "user_ann", team, model, "lab/m", "")


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db)


def amounts(ledger: Ledger, principal: Principal) -> dict[str, tuple[int, int, int]]:
    rows = ledger.by(principal, "key")
    return {row.name: (row.amounts.requests, row.amounts.prompt_tokens, row.amounts.completion_tokens) for row in rows}


def test_what_is_recorded_adds_up(ledger: Ledger, principal: Principal):
    for _ in range(3):
        ledger.record(series(), 200, False, Used(10, 5, 0.25))
    ledger.flush()
    ledger.record(series(), 503, False, Used())
    ledger.record(series(), 499, False, Used(10, 1))
    ledger.record(series(), 200, True, Used(cost=0.0))

    [row] = ledger.by(principal, "key")

    assert row.name == "k1"
    assert (row.amounts.requests, row.amounts.errors, row.amounts.cached) == (6, 1, 1)
    assert (row.amounts.prompt_tokens, row.amounts.completion_tokens, row.amounts.cost) == (40, 16, 0.75)


def test_the_most_used_comes_first_and_hours_in_their_order(ledger: Ledger, principal: Principal):
    ledger.record(series("k1", hour=HOUR), 200, False, Used(1, 1))
    ledger.record(series("k2", hour=HOUR + 1), 200, False, Used(9, 9))

    assert [row.name for row in ledger.by(principal, "key")] == ["k2", "k1"]
    assert [row.name for row in ledger.by(principal, "hour")] == [str(HOUR * 3600), str(HOUR * 3600 + 3600)]
    assert [row.name for row in ledger.by(principal, "key", start=(HOUR + 1) * 3600)] == ["k2"]
    assert [row.name for row in ledger.by(principal, "key", end=HOUR * 3600 + 10)] == ["k1"]


def test_workspaces_do_not_see_each_other(ledger: Ledger, principal: Principal, stranger: Principal):
    ledger.record(series(), 200, False, Used(1, 1))
    ledger.record(series("theirs", workspace="elsewhere"), 200, False, Used(1, 1))

    assert list(amounts(ledger, principal)) == ["k1"]
    assert list(amounts(ledger, stranger)) == ["theirs"]
    assert [spent.key_id for spent in ledger.since("elsewhere", 0)] == ["theirs"]


def test_budgets_read_what_was_spent_since(ledger: Ledger):
    ledger.record(series(hour=HOUR - 1, team="red"), 200, False, Used(100, 100, 9.0))
    ledger.record(series(team="red"), 200, False, Used(10, 5, 0.5))

    [spent] = ledger.since("default", HOUR * 3600)

    assert (spent.key_id, spent.user_id, spent.team, spent.model) == ("k1", "user_ann", "red", "m")
    assert (spent.requests, spent.tokens, spent.cost) == (1, 15, 0.5)


def test_nothing_is_lost_at_the_end(db: Database, principal: Principal):
    ledger = Ledger(db, pause_s=3600)
    ledger.start()
    ledger.record(series(), 200, False, Used(1, 1))

    ledger.close()

    assert amounts(Ledger(db), principal) == {"k1": (1, 1, 1)}


def test_it_writes_behind(db: Database, principal: Principal):
    ledger = Ledger(db, pause_s=0)
    ledger.start()
    ledger.record(series(), 200, False, Used(1, 1))
    ledger._behind.drain()

    assert amounts(Ledger(db), principal) == {"k1": (1, 1, 1)}
    ledger.close()


def test_many_threads_lose_nothing(sqlite: Database, principal: Principal):
    ledger = Ledger(sqlite, pause_s=0)
    ledger.start()

    def work() -> None:
        for number in range(2_000):
            ledger.record(series(f"k{number % 7}"), 200, False, Used(1, 2))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.close()

    found = amounts(ledger, principal)
    assert [sum(column) for column in zip(*found.values(), strict=True)] == [8_000, 8_000, 16_000]


def test_too_many_series_share_one(sqlite: Database, principal: Principal):
    ledger = Ledger(sqlite, max_series=3)
    for number in range(5):
        ledger.record(series(f"k{number}"), 200, False, Used(1, 0))

    assert ledger.overflowed == 2
    assert amounts(ledger, principal) == {"k0": (1, 1, 0), "k1": (1, 1, 0), "k2": (1, 1, 0), OTHER: (2, 2, 0)}


def test_what_cannot_be_written_is_kept(tmp_path, principal: Principal):
    db = Database(f"sqlite:///{tmp_path / 'later' / 'x.db'}")
    ledger = Ledger(db)
    ledger.record(series(), 200, False, Used(1, 1))
    with pytest.raises(Unavailable):
        ledger.flush()
    ledger.record(series(), 200, False, Used(1, 1))

    (tmp_path / "later").mkdir()
    db.create_all()

    assert amounts(ledger, principal) == {"k1": (2, 2, 2)}
    db.dispose()
