import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from inhouse.core.behind import PAUSES_S, WriteBehind


def test_everything_put_is_written_in_order() -> None:
    batches: list[list[int]] = []
    behind = WriteBehind[int](lambda items: batches.append(list(items)), max_batch=10)
    behind.start()

    for number in range(95):
        behind.put(number)
    behind.close()

    assert [number for batch in batches for number in batch] == list(range(95))
    assert max(map(len, batches)) <= 10


def test_a_full_queue_drops_and_counts() -> None:
    gate = threading.Event()
    written: list[int] = []

    def flush(items: Sequence[int]) -> None:
        gate.wait()
        written.extend(items)

    behind = WriteBehind[int](flush, max_queue=5, max_batch=1)
    behind.start()
    accepted = [behind.put(number) for number in range(50)]
    gate.set()
    behind.close()

    assert behind.dropped == accepted.count(False) > 0
    assert len(written) == accepted.count(True)


def test_one_bad_item_does_not_take_its_neighbours_along() -> None:
    written: list[int] = []

    def flush(items: Sequence[int]) -> None:
        if 3 in items:
            raise ValueError("no threes")
        written.extend(items)

    behind = WriteBehind[int](flush)
    for number in range(6):
        behind.put(number)
    behind.start()
    behind.close()

    assert sorted(written) == [0, 1, 2, 4, 5]
    assert behind.failed == 1


def test_drain_waits_for_what_was_put() -> None:
    written: list[int] = []
    behind = WriteBehind[int](written.extend)
    behind.start()
    for number in range(1000):
        behind.put(number)

    behind.drain()

    assert len(written) == 1000
    behind.close()


def test_drain_does_not_wait_for_what_is_put_later() -> None:
    def flush(items: Sequence[int]) -> None:
        behind.put(items[-1] + 1)  # there is always something more to write

    behind = WriteBehind[int](flush, max_batch=1)
    behind.start()
    behind.put(0)

    waiting = threading.Thread(target=behind.drain, daemon=True)
    waiting.start()
    waiting.join(5)

    assert not waiting.is_alive()


@pytest.mark.parametrize(("failures", "lost"), [(len(PAUSES_S), 0), (len(PAUSES_S) + 1, 2)])
def test_a_database_that_is_away_is_waited_for_a_while(failures: int, lost: int) -> None:
    written: list[int] = []
    pauses: list[float] = []
    errors = [OperationalError("INSERT", {}, OSError("away"))] * failures

    def flush(items: Sequence[int]) -> None:
        if errors:
            raise errors.pop()
        written.extend(items)

    behind = WriteBehind[int](flush, sleep=pauses.append)
    for number in range(2):
        behind.put(number)
    behind.start()
    behind.close()

    assert (len(written), behind.failed) == (2 - lost, lost)
    assert pauses == list(PAUSES_S)
