"""Secrets at rest: encrypted with keys that live in a file outside the database."""

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from inhouse.core.errors import Misconfigured


class WrongSecretKey(Misconfigured):
    """A stored secret cannot be read with the keys at hand."""


class Secrets:
    """Encrypts and decrypts short texts. The key file holds one Fernet key a line, the newest first, and is made
    (mode 600) on first use.
    """

    def __init__(self, key_path: Path) -> None:
        self._path = key_path
        self._fernet: MultiFernet | None = None

    def encrypt(self, text: str) -> str:
        return self._keys().encrypt(text.encode()).decode()

    def decrypt(self, token: str) -> str:
        try:
            return self._keys().decrypt(token.encode()).decode()
        except InvalidToken as error:
            raise WrongSecretKey(
                "A stored secret cannot be read with the present key.",
                hint=f"Put the key file that belongs to this database back at {self._path}.",
            ) from error

    def _keys(self) -> MultiFernet:
        if self._fernet is None:
            if not self._path.exists():
                write_private(self._path, Fernet.generate_key() + b"\n")
            self._fernet = MultiFernet([Fernet(line) for line in self._path.read_bytes().split()])
        return self._fernet


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
