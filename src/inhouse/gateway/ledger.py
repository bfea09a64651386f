"""The account of who has used what: added up in memory, written behind the answers."""

import threading
from collections.abc import Iterable, Sequence

from inhouse.core.behind import WriteBehind
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.gateway import store
from inhouse.gateway.policy import Series, Spent
from inhouse.gateway.prices import Used

OTHER = "other"
_HOUR_S = 3600
_CLIENT_LEFT = 499


class Ledger:
    """Requests, errors, tokens and cost by the hour, for every key, user, team, model, target and arm.

    It is written at most once in `pause_s`. Where more than `max_series` are added to at a time, the rest goes to one
    that is called `other`, and is counted.
    """

    def __init__(self, db: Database, *, pause_s: float = 1.0, max_series: int = 10_000) -> None:
        self.overflowed = 0
        self._db = db
        self._pause_s = pause_s
        self._max_series = max_series
        self._sums: dict[Series, store.Amounts] = {}
        self._adding = threading.Lock()
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._is_asked = False
        self._behind: WriteBehind[bool] = WriteBehind(self._write_later, name="usage")

    def start(self) -> None:
        self._behind.start()

    def close(self) -> None:
        """Write what is still in memory."""
        self._closing.set()
        self._behind.close()
        self.flush()

    def record(self, series: Series, status: int, is_cached: bool, used: Used) -> None:
        """Add a request. Never waits for the database."""
        with self._adding:  # held by others for no longer than it takes to swap a dictionary
            sums = self._sums.get(series) or self._open(series)
            sums.requests += 1
            if status >= 400 and status != _CLIENT_LEFT:
                sums.errors += 1
            if is_cached:
                sums.cached += 1
            sums.prompt_tokens += used.prompt_tokens
            sums.completion_tokens += used.completion_tokens
            if used.cost is not None:
                sums.cost += used.cost
            if self._is_asked:
                return
            self._is_asked = True
        self._behind.put(True)

    def flush(self) -> None:
        """Write at once. What cannot be written stays, and is written later."""
        with self._writing:
            with self._adding:
                sums, self._sums, self._is_asked = self._sums, {}, False
            try:
                if sums:
                    with self._db.write() as conn:
                        store.add_usage(conn, sums)
            except BaseException:
                self._take_back(sums)
                raise

    def since(self, workspace_id: str, start: float) -> Iterable[Spent]:
        """What everybody has used since the hour of `start`."""
        self.flush()
        with self._db.read() as conn:
            return store.spent_since(conn, workspace_id, int(start) // _HOUR_S)

    def by(
        self, principal: Principal, by: store.UsageBy, *, start: float = 0.0, end: float | None = None
    ) -> Sequence[store.UsageRow]:
        """What was used between two times, in whole hours, for each key, user, …; the most used first."""
        self.flush()
        last = None if end is None else int(end) // _HOUR_S
        with self._db.read() as conn:
            return store.usage_by(conn, principal, by, int(start) // _HOUR_S, last)

    def _open(self, series: Series) -> store.Amounts:
        if len(self._sums) >= self._max_series:
            self.overflowed += 1
            series = (series[0], series[1], *([OTHER] * 6))  # type: ignore[assignment]  # six texts
        return self._sums.setdefault(series, store.Amounts())

    def _take_back(self, sums: dict[Series, store.Amounts]) -> None:
        with self._adding:
            for series, amounts in self._sums.items():
                sums.setdefault(series, store.Amounts()).add(amounts)
            self._sums = sums

    def _write_later(self, _: Sequence[bool]) -> None:
        self._closing.wait(self._pause_s)
        self.flush()
