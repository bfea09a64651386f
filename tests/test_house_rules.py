"""The rules of the house that a linter cannot say, read off the syntax trees and the lock files."""

import ast
import functools
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "inhouse"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock"]

NETWORK = {
    "aiohttp",
    "http.client",
    "httpcore",
    "httpx",
    "requests",
    "socket",
    "urllib.request",
    "urllib3",
    "websockets",
}
HEAVY = {"gguf", "onnxruntime", "openvino", "openvino_genai", "pypdfium2", "torch", "transformers"}
PLUG_INS = ("knowledge/parsers", "serving/lm/runtimes", "serving/runtimes", "training/recipes", "workflow/nodes")
SHAPELESS = {"base", "common", "helper", "helpers", "manager", "misc", "service", "util", "utils"}
DIALS = {"create_connection", "create_datagram_endpoint", "open_connection", "open_unix_connection", "sock_connect"}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb"}
CODE_RUNNERS = {"__import__", "eval", "exec", "os.system", "torch.load", "yaml.load", "yaml.unsafe_load"}

# Who may do what the others may not, and why: a package, a file, or one thing in a file.
MAY_USE_NETWORK = {
    "core/http.py": "the one door out",
    "core/pool.py": "the door's fast transport",
    "client": "runs in the user's program, not in the server",
    "testing": "stands in for the other side",
    "server/app.py socket": "opens the port that the server listens on",
    "cli/doctor.py socket": "tries whether a port is free",
}
MAY_READ_ENVIRONMENT = {
    "core/settings.py": "the one reader",
    "knowledge/sandbox.py": "hands a parser's process what Python itself needs, and nothing else",
    "testing/vllm_stand_in.py": "is told by its environment what vLLM is told by its own",
}
MAY_USE_FASTAPI = {
    "server": "assembles the edge",
    "core/api.py": "the edge's tools, shared by every api.py",
}
MAY_CALL = {
    "workflow/document.py yaml.load": "with the safe loader, minus dates",
}


def dotted(node: ast.AST) -> str:
    """`os.environ` of the expression os.environ; empty for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line, and `a.b` for `from a import b`, which may be a module as well."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def belongs(name: str, families: set[str]) -> bool:
    return any(name == family or name.startswith(f"{family}.") for family in families)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{line}"


def parsed() -> Iterator[tuple[Path, ast.Module]]:
    return ((path, parse(path)) for path in SOURCES)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def may(exceptions: dict[str, str], path: Path, what: str = "") -> bool:
    name = path.relative_to(PACKAGE).as_posix()
    return any(allowed in (name, f"{name} {what}") or name.startswith(f"{allowed}/") for allowed in exceptions)


def test_outbound_requests_have_one_door() -> None:
    found = [
        f"{place(path, line)} {name}"
        for path, tree in parsed()
        for name, line in imports(tree)
        if name in NETWORK and not may(MAY_USE_NETWORK, path, name)
    ]

    assert not found


def test_nobody_dials_past_the_door() -> None:
    found = [
        place(path, node.lineno)
        for path, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in DIALS and not may(MAY_USE_NETWORK, path, node.attr)
    ]

    assert not found


def test_the_environment_is_read_in_one_place() -> None:
    found = [
        place(path, line)
        for path, tree in parsed()
        for line in environment_reads(tree)
        if not may(MAY_READ_ENVIRONMENT, path)
    ]

    assert not found


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines that look into the environment. Giving a library a default that it takes from nowhere else is none."""
    given = {id(node.value) for node in ast.walk(tree) if dotted(node) == "os.environ.setdefault"}
    return (node.lineno for node in ast.walk(tree) if dotted(node) in ENVIRONMENT and id(node) not in given)


def test_the_web_framework_stays_at_the_edge() -> None:
    found = [
        place(path, line)
        for path, tree in parsed()
        for name, line in imports(tree)
        if belongs(name, {"fastapi"}) and path.name != "api.py" and not may(MAY_USE_FASTAPI, path)
    ]

    assert not found


def test_every_exception_is_still_needed() -> None:
    exceptions = {**MAY_USE_NETWORK, **MAY_READ_ENVIRONMENT, **MAY_USE_FASTAPI, **MAY_CALL}

    assert not [name for name in exceptions if not (PACKAGE / name.split()[0]).exists()]


@pytest.mark.parametrize("package", PLUG_INS)
def test_plug_ins_import_heavy_libraries_inside_methods(package: str) -> None:
    found = [
        f"{place(path, line)} {name}"
        for path in sorted((PACKAGE / package).rglob("*.py"))
        for node in parse(path).body
        for name, line in imports(node)
        if belongs(name, HEAVY) and not runs_later(node)
    ]

    assert not found


def runs_later(node: ast.stmt) -> bool:
    """Whether importing the file leaves the statement's body alone: a definition, or imports for the type checker."""
    is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    return is_definition or (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING")


@pytest.mark.parametrize("module", ["inhouse.cli.main", "inhouse.server.app"])
def test_starting_loads_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == []


def test_nothing_runs_code_that_came_as_data() -> None:
    found = [
        f"{place(path, line)} {what}"
        for path, tree in parsed()
        for what, line in (*dangerous_calls(tree), *dangerous_imports(tree))
        if not may(MAY_CALL, path, what)
    ]

    assert not found


def dangerous_calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if dotted(node.func) in CODE_RUNNERS:
            yield dotted(node.func), node.lineno
        for keyword in node.keywords:
            if keyword.arg in ("shell", "trust_remote_code") and getattr(keyword.value, "value", None) is not False:
                yield f"{keyword.arg}=", node.lineno


def dangerous_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    return ((name, line) for name, line in imports(tree) if belongs(name, {"cloudpickle", "dill", "marshal", "pickle"}))


def test_nothing_is_left_unfinished() -> None:
    unfinished = re.compile(r"NotImplementedError|\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        place(path, number)
        for path in SOURCES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if unfinished.search(line)
    ]

    assert not found


def test_files_are_named_after_their_subject() -> None:
    assert not [place(path, 1) for path in SOURCES if path.stem in SHAPELESS or path.parent.name in SHAPELESS]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_host_and_holds_neither_torch_nor_cuda(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")

    assert not re.findall(r"\w+://|^--(?!hash)\S+|/\w+/", text, re.MULTILINE)
    assert not re.findall(r"^(?:torch|triton|nvidia|cuda)\b.*", text, re.MULTILINE)


def test_what_is_imported_is_declared() -> None:
    distributions = packages_distributions()
    extras = [Requirement(line) for extra in PROJECT["project"]["optional-dependencies"].values() for line in extra]
    declared = {canonicalize_name(requirement.name) for requirement in (*project_requirements(), *extras)}
    imported = {name.split(".")[0] for _, tree in parsed() for name, _ in imports(tree)}
    foreign = imported - sys.stdlib_module_names - {"inhouse"}

    def of(name: str) -> list[str]:
        """The distributions that have a module; one of an extra that is not installed is called like it."""
        return distributions.get(name) or [name]

    assert not [name for name in foreign if not declared & {canonicalize_name(one) for one in of(name)}]


def project_requirements() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["project"]["dependencies"]]


def test_the_lock_holds_what_the_project_needs() -> None:
    tools = [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]]

    for requirements, lock in ((project_requirements(), LOCKS[0]), (tools, LOCKS[1])):
        held = locked_versions(lock)
        for requirement in requirements:
            versions = held.get(canonicalize_name(requirement.name), [])
            assert requirement.name == "torch" or versions, f"{requirement} is not in {lock.name}: make lock"
            assert all(version in requirement.specifier for version in versions), f"{requirement}: make lock"


def locked_versions(lock: Path) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(
        r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE
    ):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def test_the_console_lock_names_no_other_registry() -> None:
    packages = json.loads((ROOT / "console" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    resolved = [package["resolved"] for package in packages.values() if "resolved" in package]

    assert all(url.startswith("https://registry.npmjs.org/") for url in resolved)
    assert all("integrity" in package for name, package in packages.items() if name)


@pytest.mark.parametrize(
    "source",
    ["eval('1')", "import pickle", "yaml.load(text, Loader=yaml.Loader)", "run(line, shell=True)", "torch.load(path)"],
)
def test_the_guard_sees_what_it_forbids(source: str) -> None:
    tree = ast.parse(source)

    assert [*dangerous_calls(tree), *dangerous_imports(tree)]
