from pathlib import Path

from inhouse.core.events import EventLog


def test_events_are_replayed_from_any_of_them(tmp_path: Path) -> None:
    with EventLog(tmp_path / "run" / "events.jsonl") as log:
        for step in range(5):
            log.append("step", step=step, loss=1.0 / (step + 1))

    events = EventLog(tmp_path / "run" / "events.jsonl").read(after=3)

    assert [(event["seq"], event["step"]) for event in events] == [(4, 3), (5, 4)]


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("started")

    with EventLog(path) as log:
        assert log.append("resumed") == 2


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        log.append("started")
    with path.open("ab") as file:
        file.write(b'{"seq": 2, "ty')

    assert [event["type"] for event in EventLog(path).read()] == ["started"]
    with EventLog(path) as log:
        assert log.append("resumed") == 2
    assert [event["type"] for event in EventLog(path).read()] == ["started", "resumed"]


def test_a_run_without_events_has_none(tmp_path: Path) -> None:
    assert EventLog(tmp_path / "nothing.jsonl").read() == []
