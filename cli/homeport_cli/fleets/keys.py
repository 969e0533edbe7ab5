"""SSH keys of the caller: read from a file once, its passphrase asked for once.

RSA, ECDSA and Ed25519; without a file the SSH agent's keys are used. What it does not cover: which host gets which (reach).
"""

import getpass
from collections.abc import Callable
from pathlib import Path

import asyncssh
from homeport_protos.ssh.places import Place
from homeport_protos.ssh.reach import BadKey

TRIES = 3
Ask = Callable[[str], str]


class Keys:
    """`interactive`: there is somebody to ask for a passphrase."""

    def __init__(self, *, interactive: bool, ask: Ask = getpass.getpass) -> None:
        self._interactive = interactive
        self._ask = ask
        self._read: dict[str, asyncssh.SSHKey | BadKey] = {}

    def load(self, place: Place) -> asyncssh.SSHKey | None:
        """Raises BadKey, the same one each time: nobody is asked again."""
        return self.read(place.identity_file) if place.identity_file else None

    def read(self, identity_file: str) -> asyncssh.SSHKey:
        """Raises BadKey."""
        if identity_file not in self._read:
            try:
                self._read[identity_file] = self._load(Path(identity_file).expanduser())
            except BadKey as error:
                self._read[identity_file] = error
        found = self._read[identity_file]
        if isinstance(found, BadKey):
            raise found
        return found

    def _load(self, path: Path) -> asyncssh.SSHKey:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadKey(f"identity_file {path}: {(error.strerror or str(error)).lower()}") from None
        passphrase = None
        for attempt in range(TRIES + 1):
            try:
                return asyncssh.import_private_key(data, passphrase)
            except asyncssh.KeyEncryptionError:
                pass  # another passphrase may do
            except asyncssh.KeyImportError as error:
                if not _wants_passphrase(error):
                    raise BadKey(f"identity_file {path} is no private key that we know: {error}") from None
            if not self._interactive:
                raise BadKey(
                    f"identity_file {path} is encrypted and there is nobody to ask for its passphrase: "
                    "add it to the SSH agent (ssh-add) and leave identity_file out"
                )
            if attempt < TRIES:
                passphrase = self._ask(f"Passphrase of {path}: ")
        raise BadKey(f"identity_file {path}: that is not its passphrase")


def _wants_passphrase(error: asyncssh.KeyImportError) -> bool:
    return "passphrase" in str(error).lower()
