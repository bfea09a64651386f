"""The steps behind `make test` and its relatives. Runs in the virtual environment that tools/bootstrap.py made.

Each step prints its time; the first failure stops the whole with a line that says which.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import console

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium", "fonts-noto-cjk"]

closing_lines: list[str] = []


class Failed(Exception):
    """A step found something."""


def main(target: str, *arguments: str) -> None:
    os.chdir(ROOT)
    began = time.monotonic()
    TARGETS[target](arguments)
    print(f"\nmake {target} is green: {time.monotonic() - began:.0f} s")
    print("\n".join(closing_lines))


def check(arguments: Sequence[str]) -> None:
    """What can be told without running the product."""
    read_code()
    pytest("house rules", "tests/test_house_rules.py", *arguments)


def test(arguments: Sequence[str]) -> None:
    """Everything, in the order in which it fails fastest; the browser has the machine to itself at the end."""
    browser = find_browser()
    read_code()
    test_console()
    pytest("tests", "-n", "2", "--no-loadscope-reorder", "-m", "not browser", *arguments)
    if browser:
        pytest("browser tests", "-m", "browser", "tests/e2e", *arguments, environ={"CHROMIUM": browser})


def read_code() -> None:
    """Everything that only reads the Python code."""
    tool("format", "ruff", "format", "--check", "--quiet")
    tool("lint", "ruff", "check", "--quiet", "--output-format", "concise")
    tool("types", "basedpyright", "--warnings")
    tool("import contract", "lint-imports", "--no-logo")


def test_console() -> None:
    """Types, build, size and tests of the console."""
    npm = console.Npm.find()
    if npm is None:
        raise Failed("The console's tests need npm, which the development tools should have brought.")
    if console.is_stale():
        step("console types and build", lambda: console.build(npm))
    else:
        step("console types", lambda: npm_script(npm, "lint"))
    step("console size", lambda: npm_script(npm, "budget"))
    step("console tests", lambda: npm_script(npm, "test"))


def fmt(arguments: Sequence[str]) -> None:
    tool("fix", "ruff", "check", "--fix", *arguments)
    tool("format", "ruff", "format", *arguments)


def storm(arguments: Sequence[str]) -> None:
    pytest("storm", "-m", "storm", *arguments, environ={"STORM": "long"})


def conformance(arguments: Sequence[str]) -> None:
    pytest("conformance", "-m", "conformance", *arguments, environ={"CONFORMANCE": "long"})


def dev(arguments: Sequence[str]) -> None:
    """The server, and in front of it the console's own server with hot reload."""
    npm = console.Npm.find()
    if npm is None:
        raise Failed("The console's dev server needs npm, which the development tools should have brought.")
    console.install(npm)
    server = subprocess.Popen([program("inhouse"), "up", "--demo", *arguments])
    try:
        npm.show("run", "dev")
    finally:
        server.terminate()
        server.wait()


TARGETS: dict[str, Callable[[Sequence[str]], None]] = {
    "test": test,
    "check": check,
    "storm": storm,
    "conformance": conformance,
    "dev": dev,
    "fmt": fmt,
}


# Steps


def step(title: str, work: Callable[[], None]) -> None:
    print(f"── {title}", flush=True)
    began = time.monotonic()
    try:
        work()
    except Failed as error:
        raise Failed(f"{title}: {error}") from error
    print(f"   {title}: {time.monotonic() - began:.1f} s", flush=True)


def tool(title: str, name: str, *arguments: str) -> None:
    def work() -> None:
        require(subprocess.call([program(name), *arguments]))

    step(title, work)


def npm_script(npm: console.Npm, name: str) -> None:
    require(npm.show("run", "--silent", name))


def pytest(title: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
    """Run pytest on the terminal, and keep its closing line for the end."""
    colour = ["--color=yes"] if sys.stdout.isatty() else []
    command = [sys.executable, "-m", "pytest", *colour, *arguments]

    def work() -> None:
        line = ""
        with subprocess.Popen(
            command, env={**os.environ, **(environ or {})}, stdout=subprocess.PIPE, encoding="utf-8", errors="replace"
        ) as running:
            for line in running.stdout or ():
                print(line, end="", flush=True)
        require(running.returncode)
        closing_lines.append(f"{title}: {line.strip()}")

    step(title, work)


def require(code: int) -> None:
    if code:
        raise Failed(f"exit code {code}")


def program(name: str) -> str:
    """A program of this virtual environment."""
    return str(Path(sys.executable).with_name(name))


# The browser


def find_browser() -> str:
    """Where Chromium lies, installed by apt where we may; empty when there is none and none is required."""
    found = installed_browser()
    if not found and may_use_apt():
        step("apt: chromium", install_browser)
        found = installed_browser()
    if not found and os.environ.get("REQUIRE_BROWSER") == "1":
        raise Failed("There is no Chromium, and REQUIRE_BROWSER=1. Install one, or point $CHROMIUM at it.")
    if not found:
        closing_lines.append("browser tests: SKIPPED, there is no Chromium (install one, or point $CHROMIUM at it)")
    return found


def installed_browser() -> str:
    named = (os.environ.get("CHROMIUM", ""), *BROWSERS)
    paths = (shutil.which(name) for name in named if name)
    cached = Path.home().glob(".cache/ms-playwright/chromium-*/chrome-linux*/chrome")
    return next((str(path) for path in (*paths, *cached) if path), "")


def may_use_apt() -> bool:
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and shutil.which("apt-get") is not None and os.environ.get("NO_APT") != "1"


def install_browser() -> None:
    """Best effort: whether it worked is seen by looking for the browser again."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.call(APT, env=environ, stdout=subprocess.DEVNULL):
        subprocess.call(["apt-get", "update"], env=environ, stdout=subprocess.DEVNULL)
        subprocess.call(APT, env=environ, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Failed, console.ConsoleFailed) as failure:
        sys.exit(f"\nFAILED {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
