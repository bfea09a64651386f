"""Environments for clients that must not share ours: made on first use, kept under ~/.cache, run as processes."""

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
CACHE = Path.home() / ".cache" / "inhouse-conformance"
REQUIRED = os.environ.get("REQUIRE_CONFORMANCE") == "1"
CLIENTS = Path(__file__).with_name("clients")


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a client's own."""

    name: str
    failure: str
    skipped: str


def python(name: str, *requirements: str) -> Path:
    """The Python of an environment that holds these packages."""

    def make(directory: Path) -> None:
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)])
        _run([uv, "pip", "install", "--quiet", "--python", str(_interpreter(directory)), *requirements])

    return _interpreter(_made(name, requirements, make))


def source(requirement: str) -> Path:
    """The unpacked source distribution of a package; it holds the tests, which the wheel does not."""

    def make(directory: Path) -> None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        _run([*command, "--dest", str(directory), requirement])
        (archive,) = directory.glob("*.tar.gz")
        shutil.unpack_archive(archive, directory, filter="data")

    name, _, version = requirement.partition("==")
    return _made(f"{name}-source", [requirement], make) / f"{name}-{version}"


def node(name: str, manifest: Path) -> Path:
    """A directory with the packages that `package.json` and its lock name."""
    lock = manifest.with_name("package-lock.json")
    npm = shutil.which("npm")
    if npm is None:
        _missing("There is no npm.")

    def make(directory: Path) -> None:
        directory.mkdir()
        for file in (manifest, lock):
            shutil.copy(file, directory)
        _run([str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"], directory)

    return _made(name, [lock.read_text()], make)


def cases(command: Sequence[str], report: Path, *, cwd: Path, environ: Mapping[str, str]) -> list[Case]:
    """Run a client's tests, and read what became of each from the JUnit report that they write."""
    done = subprocess.run(
        command, cwd=cwd, env={**_plain(), **environ}, capture_output=True, text=True, timeout=600, check=False
    )
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert report.is_file(), f"exit code {done.returncode}\n{said}"
    found = [_case(element) for element in ElementTree.parse(report).iter("testcase")]
    assert found, said
    assert done.returncode == 0 or any(case.failure for case in found), said
    return found


def expect(found: Sequence[Case], subtests: pytest.Subtests, *, at_least: int) -> None:
    """Report each test as one of ours; fewer than expected are a failure, too."""
    for case in found:
        with subtests.test(msg=case.name):
            if case.skipped:
                pytest.skip(case.skipped)
            assert not case.failure, case.failure
    passed = sum(not case.failure and not case.skipped for case in found)
    assert passed >= at_least, f"{passed} passed of {len(found)}"


def pytest_command(interpreter: Path, report: Path, *arguments: str) -> list[str]:
    """A pytest that knows nothing of ours."""
    options = ["-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_family=xunit1", "--tb=short", "-q"]
    return [str(interpreter), "-m", "pytest", *options, *arguments]


def _case(element: ElementTree.Element) -> Case:
    def text(*tags: str) -> str:
        found = next((child for tag in tags if (child := element.find(tag)) is not None), None)
        return "" if found is None else f"{found.get('message') or tags[0]}\n{found.text or ''}".strip()

    owner = (element.get("classname") or "").rpartition(".")[2]
    return Case(f"{owner}.{element.get('name')}", text("failure", "error"), text("skipped"))


def _made(name: str, content: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The directory of this name and content; a half-made one is never taken for a whole one."""
    digest = hashlib.sha256("\n".join([sys.version, *content]).encode()).hexdigest()[:12]
    directory = CACHE / f"{name}-{digest}"
    stamp = directory / ".whole"
    if stamp.is_file():
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        make(directory)
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(directory, ignore_errors=True)
        _missing(f"{name} cannot be installed: {_told(error)}")
    stamp.touch()
    return directory


def _told(error: Exception) -> str:
    """The line that says why, out of all that an installer writes."""
    lines = str(getattr(error, "stderr", "") or error).splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")[:200]


def _missing(reason: str) -> None:
    """Skip visibly, or fail where the run demands the clients."""
    if REQUIRED:
        pytest.fail(f"{reason} (REQUIRE_CONFORMANCE=1)")
    pytest.skip(reason)


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    environ = runpy.run_path(str(ROOT / "tools" / "bootstrap.py"))["pip_environ"]()
    subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=600, check=True)


def _interpreter(directory: Path) -> Path:
    return directory / "bin" / "python"


def _plain() -> dict[str, str]:
    """The environment without settings of ours, and without a proxy before this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("INHOUSE_", "PYTEST_"))}
    return {**kept, "NO_PROXY": "127.0.0.1,localhost"}
