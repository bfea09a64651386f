"""How a command finds its server."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from inhouse.core.settings import client_defaults, load_settings

if TYPE_CHECKING:
    from inhouse.client import Client

ADMIN_KEY = "admin.key"
ADDRESS = "address"


class Connection:
    """URL and key from options, the environment, or the data directory of a server on this machine."""

    def __init__(self, *, url: str = "", key: str = "", home: str = "", output: str = "table") -> None:
        self._url = url
        self._key = key
        self._home = home
        self.output = output

    @cached_property
    def home(self) -> Path:
        return load_settings(home=self._home or None).home

    @cached_property
    def url(self) -> str:
        return self._url or client_defaults()[0] or _read(self.home / ADDRESS) or "http://127.0.0.1:8750"

    @property
    def names_server(self) -> bool:
        """Whether this command names a server, rather than leaving it to be found."""
        return bool(self._url)

    @property
    def key(self) -> str:
        return self._key or client_defaults()[1] or _read(self.home / ADMIN_KEY)

    @cached_property
    def client(self) -> "Client":
        from inhouse.client import Client

        return Client(self.url, self.key)

    def close(self) -> None:
        """Let go of the server, where it was spoken to at all."""
        if "client" in self.__dict__:
            self.client.close()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
