"""Starting under bad stars: each way ends with one clear sentence, and with the data as it was."""

import asyncio
import json
import os
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from inhouse.core.datadir import DataDirectoryUnusable
from inhouse.core.errors import InhouseError
from inhouse.core.settings import Settings
from inhouse.server.wiring import open_house
from server.conftest import Server, command, started


def up(home: Path, *arguments: str) -> tuple[int, str]:
    """Try to start a server that does not; its exit code, and what it said."""
    ended = subprocess.run(
        command("up", "--port", "0", *arguments, home=home),
        env={name: value for name, value in os.environ.items() if not name.startswith("INHOUSE_")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, " ".join((ended.stdout + ended.stderr).split())


def test_a_second_server_on_the_same_data_is_refused(server: Server, admin: httpx.Client) -> None:
    code, said = up(server.home)

    assert code == 1
    assert f"process {server.process.pid}" in said
    assert "--home" in said
    assert admin.get("/readyz").json()["status"] == "ready"


@pytest.mark.parametrize("home", ["/sys/inhouse", "/proc/inhouse", "/dev/null/inhouse"])
def test_a_data_directory_that_cannot_be_written_is_told(home: str) -> None:
    """Places where not even root can make a directory."""
    with pytest.raises(DataDirectoryUnusable, match="cannot be written") as raised:
        asyncio.run(opened(Path(home)))

    assert "--home or INHOUSE_HOME" in raised.value.hint


async def opened(home: Path, **settings: str) -> None:
    async with open_house(Settings(home=home, **settings)):
        pass


def test_nobody_listens_beyond_this_machine_without_a_password(tmp_path: Path) -> None:
    code, said = up(tmp_path / "home", "--host", "0.0.0.0")

    assert code == 1
    assert "INHOUSE_ADMIN_PASSWORD" in said


@pytest.mark.parametrize(
    ("database", "says"),
    [("mysql://localhost/x", "not supported"), ("postgresql://me:sesame@127.0.0.1:1/x", "does not answer")],
)
def test_a_database_that_cannot_be_used_is_told_without_its_password(tmp_path: Path, database: str, says: str) -> None:
    with pytest.raises(InhouseError, match=says) as raised:
        asyncio.run(opened(tmp_path / "home", database=database))

    assert raised.value.hint
    assert "sesame" not in str(raised.value)


def test_a_taken_port_is_passed_over_and_a_fresh_start_is_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(home, port=port, environment={"INHOUSE_ADMIN_PASSWORD": ""}) as (process, url):
            assert int(url.rpartition(":")[2]) in range(port + 1, port + 50)
            assert {address for address, _ in listening(process.pid)} == {"127.0.0.1"}
            assert (home / "admin.key").stat().st_mode & 0o777 == 0o600
            assert home.stat().st_mode & 0o077 == 0
            login = {"username": "admin", "password": ""}
            assert httpx.post(f"{url}/api/v1/auth/login", json=login, trust_env=False).status_code == 401


def listening(pid: int) -> list[tuple[str, int]]:
    """Where a process listens, read off /proc."""
    inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    found: list[tuple[str, int]] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].partition(":")
                packed = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
                family = socket.AF_INET if table == "tcp" else socket.AF_INET6
                found.append((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def test_a_wrong_key_is_told_on_the_command_line(server: Server) -> None:
    wrong = ["--url", server.url, "--key", "ih_wrong", "-o", "json"]

    ended = subprocess.run(
        [*command(home=server.home), *wrong, "data", "ls"], capture_output=True, text=True, timeout=30, check=False
    )

    assert ended.returncode == 4
    assert json.loads(ended.stderr)["error"]["code"] == "not_signed_in"
