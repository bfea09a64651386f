"""Ship the built console inside wheels and source archives, and the help-desk example inside wheels.

Editable installs use the tree they point at as it is. `INHOUSE_CONSOLE=skip` builds no console.
"""

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "tools"))
import console

EXAMPLE = "examples/helpdesk"


class PackageHook(BuildHookInterface):
    """Builds the console when its sources changed; asks for node only then, and only where npm is missing."""

    def dependencies(self) -> list[str]:
        return [console.NODE_WHEEL] if _wanted() and console.Npm.find() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        if self.target_name == "wheel":
            build_data["force_include"][str(Path(self.root, EXAMPLE))] = f"inhouse/{EXAMPLE}"
        if not _wanted():
            return
        npm = console.Npm.find()
        if npm is None:
            raise console.ConsoleFailed("Building the console needs npm with node >= 20.19, or INHOUSE_CONSOLE=skip.")
        console.build(npm)


def _wanted() -> bool:
    return os.environ.get("INHOUSE_CONSOLE") != "skip" and console.is_stale()
