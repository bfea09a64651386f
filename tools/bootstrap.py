"""From a fresh clone to a running server: the virtual environment, the locked packages, the console.

Needs nothing but Python 3.11. Every step leaves a stamp with the hash of what it was made from: it prints its time when
it works and is silent when nothing changed. `make help` lists the targets.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import console

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMPS = VENV / ".stamps"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
PYPROJECT = ROOT / "pyproject.toml"
COMPILED = ("compiled-packages", "compiled-inhouse")
UV = "uv==0.13.8"
TOO_OLD = "import sys; sys.exit(sys.version_info < (3, 11))"

TARGETS = {
    "run": "set everything up and start inhouse with the demo (the default)",
    "test": "all checks and tests: Python, console, browser",
    "check": "the fast part: format, lint, types, import contract, house rules",
    "demo": "walk through the whole loop in the terminal",
    "storm": "the long load and crash tests",
    "conformance": "the suites of outside clients",
    "dev": "the server and the console's dev server, which reloads on every change",
    "fmt": "format and fix what can be fixed",
    "lock": "resolve the dependencies anew and write the lock files",
    "clean": "remove everything that was made here, except the data in var/",
    "help": "this list",
}


class Stop(Exception):
    """Why it cannot go on; the message is for the user."""


def main(target: str = "run", *arguments: str) -> int:
    os.chdir(ROOT)
    if target == "help":
        print("\n".join(f"  make {name:<13}{what}" for name, what in TARGETS.items()))
        print('\nARGS="…" is handed on to the command: make run ARGS="--port 9000"')
    elif target == "clean":
        clean()
    elif target in TARGETS:
        create_tools()
        if target == "lock":
            write_locks(arguments)
        else:
            start(target, arguments)
    else:
        raise Stop(f"There is no target {target!r}. Known: {', '.join(TARGETS)}.")
    return 0


def start(target: str, arguments: tuple[str, ...]) -> None:
    """Prepare what the target needs, then become it."""
    if target in ("run", "demo"):
        install(dev=False)
        build_console()
        become("inhouse", *(("up", "--demo") if target == "run" else ("demo",)), *arguments)
    else:
        install(dev=True)
        become("python", str(ROOT / "tools" / "checks.py"), target, *arguments)


def become(program: str, *arguments: str) -> None:
    """Replace this process by a program of the virtual environment."""
    path = shutil.which(program, path=str(BIN))
    if path is None:
        raise Stop(f"{BIN} has no {program}: run `make clean`, then try again.")
    if os.name == "nt":  # exec there returns to the shell at once
        sys.exit(subprocess.call([path, *arguments]))
    sys.stdout.flush()
    os.execv(path, [path, *arguments])


# The virtual environment


def create_tools() -> None:
    """The empty virtual environment, and uv in it."""
    if not PYTHON.exists():
        shutil.rmtree(STAMPS, ignore_errors=True)
    step("Creating .venv", "venv", [str(ROOT)], create_venv)
    step("Installing uv", "uv", [UV], install_uv)


def install(*, dev: bool) -> None:
    """Bring the virtual environment to what the lock files say."""
    lock, project = LOCK.read_bytes(), PYPROJECT.read_bytes()
    torch = torch_requirement()
    step(f"Installing {torch}", "torch", [torch], lambda: install_torch(torch))
    step("Installing the locked packages", "packages", [lock], lambda: install_locked(LOCK))
    if dev:
        step("Installing the development tools", "dev", [DEV_LOCK.read_bytes()], lambda: install_locked(DEV_LOCK))
    step("Installing inhouse", "project", [project], install_project)
    made = [stamp.read_bytes() for stamp in sorted(STAMPS.iterdir()) if stamp.name not in ("check", *COMPILED)]
    step("Checking the installation", "check", made, lambda: run([str(PYTHON), "-m", "pip", "check"]))
    step("Compiling the packages", "compiled-packages", made, lambda: compile_all(*libraries()))
    sources = sorted((ROOT / "src").rglob("*.py"))
    step(
        "Compiling inhouse",
        "compiled-inhouse",
        [path.read_bytes() for path in sources],
        lambda: compile_all(ROOT / "src"),
    )


def compile_all(*directories: Path) -> None:
    """Write the bytecode now: where Python may not write it later, every start would compile everything anew.

    What never compiles (templates, sources for newer Pythons) is no failure. transformers is only used on request.
    """
    command = [
        str(PYTHON),
        "-m",
        "compileall",
        "-qq",
        "-j",
        "0",
        "-x",
        "site-packages.transformers.",
        *map(str, directories),
    ]
    subprocess.run(command, check=False)


def step(title: str, name: str, inputs: list[str | bytes], work: Callable[[], None]) -> None:
    """Do the work unless it was done before with the same inputs."""
    total = hashlib.sha256()
    for part in inputs:
        total.update(hashlib.sha256(part if isinstance(part, bytes) else part.encode()).digest())
    stamp = STAMPS / name
    if not stamp.is_file() or stamp.read_text() != total.hexdigest():
        timed(title, work)
        STAMPS.mkdir(parents=True, exist_ok=True)
        stamp.write_text(total.hexdigest())


def timed(title: str, work: Callable[[], None]) -> None:
    print(f"{title} … ", end="", flush=True)
    began = time.monotonic()
    try:
        work()
    except BaseException:
        print("failed")
        raise
    print(f"{time.monotonic() - began:.1f} s")


def create_venv() -> None:
    """Make the virtual environment anew, unless somebody made a good one by hand."""
    if not STAMPS.exists() and succeeds([str(PYTHON), "-c", f"import pip; {TOO_OLD}"]):
        return
    python = find_python()
    if not succeeds([python, "-c", "import ensurepip, venv"]):
        raise Stop(
            f"{python} cannot make virtual environments. On Debian or Ubuntu: apt install python3-venv make\n"
            "(as root), then run the same command again."
        )
    run([python, "-m", "venv", "--clear", str(VENV)])


def find_python() -> str:
    """The newest usable Python that our dependencies have wheels for."""
    inside = f"{VENV}{os.sep}"
    for name in (os.environ.get("PYTHON", ""), "python3.13", "python3.12", "python3.11", "python3", "python"):
        path = shutil.which(name) if name else None
        if path and not path.startswith(inside) and succeeds([path, "-c", TOO_OLD]):
            return path
    raise Stop(
        "inhouse needs Python 3.11 or newer, and none was found on PATH.\n"
        "On Debian 12 or Ubuntu 24.04: apt install python3 python3-venv make (as root). "
        "Elsewhere: https://www.python.org/downloads/"
    )


def install_uv() -> None:
    """Put uv into the virtual environment. Where there is none for this platform, pip does its work, only slower."""
    if not succeeds([str(PYTHON), "-m", "pip", "install", "--quiet", UV]):
        print("uv cannot be installed, going on with pip … ", end="", flush=True)


def install_torch(torch: str) -> None:
    """Take the wheel that pip's find-links hold, else the one for this machine's GPU or for the lack of one."""
    locked = ["--constraints", str(LOCK)] if has_uv() else []  # pip would want a hash of torch, too
    found = pip("install", "--no-index", "--no-deps", torch)
    fitting = pip("install", *machine_options(), *locked, torch)
    if not any(succeeds(command, pip_environ()) for command in (found, fitting)):
        print("PyTorch's own index does not answer, taking the package index's wheel … ", end="", flush=True)
    run(pip("install", *locked, torch), pip_environ())  # what it needs itself, or all of it


def machine_options() -> list[str]:
    """What keeps gigabytes of CUDA away from a machine without an NVIDIA GPU."""
    if has_uv():
        return ["--torch-backend", os.environ.get("UV_TORCH_BACKEND", "auto")]
    if sys.platform == "darwin" or shutil.which("nvidia-smi"):
        return []
    return ["--index-url", "https://download.pytorch.org/whl/cpu"]


def install_locked(lock: Path) -> None:
    run(pip("install", "--no-deps", "--require-hashes", "-r", str(lock)), pip_environ())


def install_project() -> None:
    locked = ["--build-constraints", str(DEV_LOCK)] if has_uv() else []
    run(pip("install", "--no-deps", *locked, "--editable", str(ROOT)), {**pip_environ(), "INHOUSE_CONSOLE": "skip"})


def torch_requirement() -> str:
    found = re.search(r'"(torch==[^"]+)"', PYPROJECT.read_text(encoding="utf-8"))
    if found is None:
        raise Stop("pyproject.toml pins no torch version.")
    return found[1]


def pip(verb: str, *arguments: str) -> list[str]:
    """The command line of uv's pip, or of pip itself."""
    if has_uv():
        return [str(BIN / "uv"), "pip", verb, "--python", str(PYTHON), *arguments]
    return [str(PYTHON), "-m", "pip", verb, *arguments]


def has_uv() -> bool:
    return shutil.which("uv", path=str(BIN)) is not None


def pip_environ() -> dict[str, str]:
    """The environment, with what pip is configured to use said in uv's words. What uv was told itself stays."""
    said = pip_configuration()
    derived = {
        "UV_DEFAULT_INDEX": said.get("index-url", ""),
        "UV_INDEX": said.get("extra-index-url", ""),
        "UV_INDEX_STRATEGY": "unsafe-best-match" if "extra-index-url" in said else "",  # pip's way with two indexes
        "UV_FIND_LINKS": ",".join(said.get("find-links", "").split()),
        "UV_NO_INDEX": "1" if said.get("no-index", "").lower() in ("1", "true", "yes") else "",
        "UV_INSECURE_HOST": said.get("trusted-host", ""),
        "SSL_CERT_FILE": said.get("cert", ""),
        "HTTPS_PROXY": said.get("proxy", ""),
    }
    return {**{name: value for name, value in derived.items() if value}, **os.environ}


def pip_configuration() -> dict[str, str]:
    """pip's options from its files and environment, the strongest source winning."""
    listed = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    options: dict[str, str] = {}
    pairs = [line.partition("=") for line in listed.stdout.splitlines()]
    for section in ("global", "install", ":env:"):
        for key, _, value in pairs:
            if key.startswith(f"{section}."):
                options[key[len(section) + 1 :]] = " ".join(ast.literal_eval(value).split())
    return options


# The console


def build_console() -> None:
    """Build the console when its sources changed. The server works without it, so a failure is one line."""
    if not console.is_stale():
        return
    try:
        npm = find_npm()
        timed("Building the console", lambda: console.build(npm))
    except (Stop, console.ConsoleFailed) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        print(f"Going on without a fresh web console ({reason}). `cd console && npm ci` shows why.")


def find_npm() -> console.Npm:
    """The npm of this machine, else one fetched from PyPI."""
    npm = console.Npm.find(libraries())
    if npm is None:
        locked = ["--constraints", str(DEV_LOCK)] if has_uv() else []
        command = pip("install", "--no-deps", *locked, console.NODE_WHEEL)
        timed("Fetching node for the console", lambda: run(command, pip_environ()))
        npm = console.Npm.find(libraries())
    if npm is None:
        raise Stop(f"{console.NODE_WHEEL} brought no npm.")
    return npm


def libraries() -> list[Path]:
    return [*VENV.glob("lib/python*/site-packages"), *VENV.glob("Lib/site-packages")]


# Housekeeping


def write_locks(arguments: tuple[str, ...]) -> None:
    """Resolve for every platform, from the main index alone: other sources are this machine's own affair."""
    if not has_uv():
        raise Stop(f"make lock needs {UV}, which could not be installed.")
    environ = {name: value for name, value in pip_environ().items() if name not in ("UV_INDEX", "UV_FIND_LINKS")}
    common = [str(BIN / "uv"), "--config-file", "tools/lock.toml", "pip", "compile", "--universal", "--generate-hashes"]
    common += ["--python-version", "3.11", "--no-annotate", "--custom-compile-command", "make lock"]
    common += ["--no-emit-package", "torch", "--no-emit-index-url", "--no-emit-find-links", *arguments]
    for path, wanted in ((LOCK, ["pyproject.toml"]), (DEV_LOCK, ["--group", "dev", "--constraints", LOCK.name])):
        command = [*common, *wanted, "--output-file", path.name]
        timed(f"Writing {path.name}", lambda command=command: run(command, environ))


def clean() -> None:
    made = [VENV, console.TARGET, console.SOURCE / "dist", console.SOURCE / "node_modules", ROOT / "dist"]
    made += [ROOT / name for name in (".ruff_cache", ".pytest_cache", ".import_linter_cache", ".hypothesis")]
    for path in made:
        shutil.rmtree(path, ignore_errors=True)


def succeeds(command: list[str], environ: dict[str, str] | None = None) -> bool:
    try:
        run(command, environ)
    except (Stop, OSError):
        return False
    return True


def run(command: list[str], environ: dict[str, str] | None = None) -> None:
    """Run a command silently; when it fails, stop with the end of what it said."""
    done = subprocess.run(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-20:])
        raise Stop(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{said}")


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (Stop, console.ConsoleFailed) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(130)
