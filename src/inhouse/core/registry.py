"""One way to plug things in: a table of named things.

Built-ins are the modules of one package; third parties use an entry point group, such as `inhouse.nodes`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from inhouse.core.errors import Conflict, NotFound

Thing = TypeVar("Thing")


class NameTaken(Conflict):
    """Two plug-ins ask for one name."""


class UnknownName(NotFound):
    """No plug-in has that name."""


class Registry(Generic[Thing]):
    """Names -> things of one kind, filled on first use."""

    def __init__(self, kind: str, *, package: str) -> None:
        self.kind = kind
        self.kinds = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
        self._package = package
        self._things: dict[str, Thing] = {}
        self._loaded = False

    def add(self, name: str, thing: Thing) -> None:
        if name in self._things:
            raise NameTaken(f"Two {self.kinds} are named {name!r}.")
        self._things[name] = thing

    def __getitem__(self, name: str) -> Thing:
        self.load()
        if name not in self._things:
            raise UnknownName(f"There is no {self.kind} named {name!r}.", hint="Known: " + ", ".join(self))
        return self._things[name]

    def __contains__(self, name: str) -> bool:
        self.load()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(sorted(self._things))

    def load(self) -> None:
        """Import every built-in module and every installed plug-in, once."""
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__, f"{self._package}."):
            importlib.import_module(module.name)
        for plugin in entry_points(group=f"inhouse.{self.kinds}"):
            plugin.load()
