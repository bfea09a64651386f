import threading
from collections.abc import Sequence

from inhouse.core.behind import WriteBehind


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
