"""Requests to a server."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from inhouse.client.errors import (
    BadAddress,
    ConnectionBroke,
    FileUnreadable,
    NotInhouse,
    ServerTimedOut,
    ServerUnreachable,
    rebuilt,
)
from inhouse.core.errors import LimitExceeded, Unavailable

File = str | Path | tuple[str, bytes]
"""A file to upload: its path, or a name with the content."""

API = "/api/v1"
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_CONNECT_S = 5.0
_LONGEST_WAIT_S = 30.0


class ServerEvent(NamedTuple):
    """One event of a stream."""

    name: str
    data: Any


class Http:
    """One server. A request that may safely be repeated is, when the server has no time or the line drops."""

    def __init__(self, base_url: str, api_key: str = "", *, timeout_s: float = 300.0, retries: int = 3) -> None:
        self._url = base_url.rstrip("/")
        self._retries = retries
        self._client = httpx.Client(
            base_url=_checked(self._url),
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            headers={
                "accept": "application/json",
                **({"authorization": f"Bearer {api_key}"} if api_key else {}),
            },
            mounts={f"all://{host}": None for host in _LOOPBACK},  # no proxy leads to this machine
        )

    def close(self) -> None:
        self._client.close()

    def get(self, *segments: object, **params: object) -> Any:
        """Read what is at an API path. Parameters that are None or empty are left out."""
        return self.send("GET", *segments, params=params)

    def download(self, *segments: object, **params: object) -> bytes:
        """Read a file."""
        with self._translated():
            response = self._client.get(_path(API, segments), params=_given(params))
        if response.is_error:
            self._content(response)
        return response.content

    def post(self, *segments: object, body: object = None) -> Any:
        return self.send("POST", *segments, body=body)

    def send(
        self,
        method: str,
        *segments: object,
        params: Mapping[str, object] | None = None,
        body: object = None,
        form: Mapping[str, str] | None = None,
        files: Sequence[tuple[str, File]] = (),
        is_repeatable: bool = False,
        root: str = API,
    ) -> Any:
        """Send a request to a path and return the JSON of the answer, None when it is empty."""
        is_repeatable = is_repeatable or method in _IDEMPOTENT
        attempt = 0
        while True:
            try:
                with self._translated(), _opened(files) as parts:
                    response = self._client.request(
                        method, _path(root, segments), params=_given(params), json=body, data=form, files=parts
                    )
                return self._content(response)
            except (LimitExceeded, Unavailable) as error:
                wait_s = float(error.details.get("retry_after_s", 0.2 * 2**attempt))
                if not (is_repeatable and error.retryable) or attempt == self._retries or wait_s > _LONGEST_WAIT_S:
                    raise
            time.sleep(wait_s)
            attempt += 1

    def stream(
        self, method: str, *segments: object, params: Mapping[str, object] | None = None, body: object = None
    ) -> Iterator[ServerEvent]:
        """Yield the events of a stream as they come, however long that takes."""
        request = self._client.stream(
            method,
            _path(API, segments),
            params=_given(params),
            json=body,
            headers={"accept": "text/event-stream"},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
        )
        with self._translated(), request as response:
            if response.is_error:
                response.read()
                self._content(response)
            yield from _events(response.iter_bytes())

    def _content(self, response: httpx.Response) -> Any:
        if response.status_code == 204:
            return None
        try:
            content = response.json()
        except ValueError as error:
            raise NotInhouse(
                f"{self._url} does not answer like an inhouse server.", hint="Is the address right?"
            ) from error
        if not response.is_success:
            raise rebuilt(content, response.status_code)
        return content

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerUnreachable(
                f"No server answers at {self._url}.", hint="Start it with `inhouse up`, or name another one with --url."
            ) from error
        except httpx.TimeoutException as error:
            raise ServerTimedOut(f"{self._url} did not answer in time.", hint="Look whether it is busy.") from error
        except httpx.TransportError as error:
            raise ConnectionBroke(f"The connection to {self._url} broke.", hint="Try again.") from error


def _checked(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadAddress(f"{url!r} is not the address of a server.", hint="It looks like http://127.0.0.1:8750.")
    return parsed


def _path(root: str, segments: Iterable[object]) -> str:
    return "/".join([root, *(quote(str(segment), safe="") for segment in segments)])


def _given(params: Mapping[str, object] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (params or {}).items() if value is not None and value != ""}


@contextmanager
def _opened(files: Sequence[tuple[str, File]]) -> Iterator[list[tuple[str, Any]] | None]:
    """The files as parts of a form."""
    with ExitStack() as closing:
        parts: list[tuple[str, Any]] = []
        for field, file in files:
            if isinstance(file, tuple):
                parts.append((field, file))
                continue
            try:
                parts.append((field, (Path(file).name, closing.enter_context(open(file, "rb")))))
            except OSError as error:
                raise FileUnreadable(f"{str(file)!r} cannot be read: {error.strerror}.") from error
        yield parts or None


def _events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Server-sent events. Not split with `splitlines`: JSON text may hold other line ends, such as U+2028."""
    buffer = b""
    for chunk in chunks:
        *frames, buffer = (buffer + chunk).split(b"\n\n")
        for frame in frames:
            fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if ": " in line)
            if "data" in fields:
                yield ServerEvent(fields.get("event", "message"), json.loads(fields["data"]))
