import re
import threading

from inhouse.core.ids import new_id


def test_ids_are_told_apart_whoever_asks() -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.extend(new_id("run") for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == len(found) == 8000
    assert all(re.fullmatch(r"run_[0-9a-hjkmnp-tv-z]{26}", one) for one in found)


def test_a_later_id_sorts_behind_an_earlier_one() -> None:
    early = new_id("run")
    while (late := new_id("run"))[:14] == early[:14]:
        pass

    assert early < late
