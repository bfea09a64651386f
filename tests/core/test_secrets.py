import stat
from pathlib import Path

import pytest

from inhouse.core.secrets import Secrets, WrongSecretKey


def test_a_secret_comes_back_and_is_not_readable_in_between(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets.key")

    token = secrets.encrypt("sk-very-secret")

    assert "very" not in token
    assert Secrets(tmp_path / "secrets.key").decrypt(token) == "sk-very-secret"


def test_the_key_file_is_private(tmp_path: Path) -> None:
    Secrets(tmp_path / "secrets.key").encrypt("x")

    assert stat.S_IMODE((tmp_path / "secrets.key").stat().st_mode) == 0o600


def test_another_key_is_told_apart(tmp_path: Path) -> None:
    token = Secrets(tmp_path / "one.key").encrypt("x")

    with pytest.raises(WrongSecretKey):
        Secrets(tmp_path / "two.key").decrypt(token)
