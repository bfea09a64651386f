import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from inhouse.access.identity import Identity
from inhouse.cli.up import ADMIN, OpenWithoutPassword, prepare
from inhouse.core.db import Database
from inhouse.core.principal import Principal
from inhouse.core.settings import Settings


@dataclass
class Entrance:
    """The one room of a house that preparing it needs."""

    identity: Identity


@pytest.fixture
def entrance(sqlite: Database) -> Entrance:
    return Entrance(Identity(sqlite))


def test_the_first_start_makes_an_administrator_and_a_private_key(entrance: Entrance, tmp_path: Path) -> None:
    prepare(entrance, Settings(home=tmp_path))  # type: ignore[arg-type]

    key_file = tmp_path / "admin.key"
    principal = entrance.identity.by_key(key_file.read_text().strip())
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert principal is not None
    assert principal.allows("user:write")


def test_the_key_is_shown_on_the_first_start_only(
    entrance: Entrance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(entrance, Settings(home=tmp_path))  # type: ignore[arg-type]
    key = (tmp_path / "admin.key").read_text().strip()
    first = capsys.readouterr().err
    prepare(entrance, Settings(home=tmp_path))  # type: ignore[arg-type]

    assert key in first.replace("\n", "")
    assert "ih_key" not in capsys.readouterr().err
    assert [user.name for user in entrance.identity.users(Principal.system())] == [ADMIN]


def test_two_installations_have_two_keys(entrance: Entrance, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare(entrance, Settings(home=tmp_path / name))  # type: ignore[arg-type]

    assert (tmp_path / "one" / "admin.key").read_text() != (tmp_path / "two" / "admin.key").read_text()


def test_the_world_is_not_let_in_without_a_password(entrance: Entrance, tmp_path: Path) -> None:
    with pytest.raises(OpenWithoutPassword) as raised:
        prepare(entrance, Settings(home=tmp_path, host="0.0.0.0"))  # type: ignore[arg-type]

    assert "INHOUSE_ADMIN_PASSWORD" in raised.value.hint


def test_a_password_of_the_settings_signs_the_administrator_in(entrance: Entrance, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, host="0.0.0.0", admin_password="correct horse battery")  # type: ignore[arg-type]

    prepare(entrance, settings)  # type: ignore[arg-type]
    prepare(entrance, settings)  # type: ignore[arg-type]

    token = entrance.identity.sign_in(Principal.system(), ADMIN, "correct horse battery", "127.0.0.1")
    assert entrance.identity.by_session(token) is not None
