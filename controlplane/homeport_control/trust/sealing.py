"""Sealing of secrets at rest: env values and registry passwords are in the database only under this key.

Fernet (AES-128-CBC with HMAC-SHA256, from `cryptography`). The key is a file of its own (mode 0600) beside the
database, so that a copy or a backup of the database alone gives nothing away.
"""

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from homeport_control.domain.errors import NotReady
from homeport_control.trust.ca import write_private


class Sealer:
    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(key)

    @classmethod
    def load_or_create(cls, file: Path) -> "Sealer":
        """Read the key, or make one (mode 0600). Raises NotReady when the file holds no key."""
        if not file.exists():
            write_private(file, Fernet.generate_key())
        try:
            return cls(file.read_bytes())
        except ValueError:
            raise NotReady(f"{file} is damaged: it holds no key; put back the one that belongs here") from None

    def seal(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Raises NotReady when the key is not the one that sealed it (a database restored without its key)."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise NotReady(
                "secrets in the database cannot be opened: secret.key is not the key that sealed them; "
                "put back the secret.key that belongs to this database"
            ) from None
