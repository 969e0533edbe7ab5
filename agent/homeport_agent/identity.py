"""Who this host is: its key, its certificate, the CA, and where its server is; on disk, replaced as one.

Covers keeping and reading. Does not cover getting it (join) and renewing it (renewal).

    identity/current -> version-2      one rename of this link replaces everything at once: a key never stands beside
    identity/key.pem -> current/…      another key's certificate, whenever the power goes
    identity/certificate.pem, ca.pem, server.json likewise
Envoy reads the same files and watches the folder for that rename.
"""

import hashlib
import json
import os
import shutil
import ssl
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from homeport_agent.files import sync_folder, write_atomically

NAMES = ("key.pem", "certificate.pem", "ca.pem", "server.json")
RENEW_AFTER = 2 / 3  # of a certificate's life


class NotJoined(Exception):
    """There is no usable identity; str() is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    server_host: str
    api_port: int
    link_port: int
    server_id: str
    host_id: str
    name: str
    not_before_s: float  # unix time
    not_after_s: float
    key_pem: str = field(repr=False)
    certificate_pem: str = field(repr=False)
    ca_pem: str = field(repr=False)

    @property
    def link_target(self) -> str:
        """For gRPC; an IPv6 address stands in brackets."""
        host = f"[{self.server_host}]" if ":" in self.server_host else self.server_host
        return f"{host}:{self.link_port}"

    def renew_at_s(self) -> float:
        """Unix time from which a new certificate should be asked for."""
        return self.not_before_s + (self.not_after_s - self.not_before_s) * RENEW_AFTER

    def is_expired(self, unix_now_s: float) -> bool:
        return unix_now_s >= self.not_after_s


def ca_sha256(ca_pem: str) -> str:
    """Lower-case hex over the DER of the first certificate. Raises ValueError when there is none."""
    end = "-----END CERTIFICATE-----"
    first, found, _ = ca_pem.partition(end)
    start = first.find("-----BEGIN CERTIFICATE-----")
    if not found or start < 0:
        raise ValueError("no PEM certificate")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[start:] + end + "\n")).hexdigest()


class IdentityStore:
    """The identity in one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "identity"
        self._kept: tuple[tuple[int, int], Identity] | None = None  # by inode and time of the folder that it is of

    def path(self, name: str) -> Path:
        """Where one of NAMES lies, for a program that reads it itself."""
        return self.folder / name

    def is_there(self) -> bool:
        return (self.folder / "current").exists()

    def read(self) -> Identity:
        """Raises NotJoined, OSError. What was read is kept while its folder is the same one: each `save` makes another."""
        try:
            found = (self.folder / "current").stat()
        except FileNotFoundError:
            raise NotJoined(
                f"this host has not joined a server ({self.folder} is empty); run: homeport agent join"
            ) from None
        version = (found.st_ino, found.st_mtime_ns)
        if self._kept is None or self._kept[0] != version:
            self._kept = (version, self._read())
        return self._kept[1]

    def _read(self) -> Identity:
        try:
            facts: dict[str, Any] = json.loads(self.path("server.json").read_text())
            pems: dict[str, Any] = {
                f"{it}_pem": self.path(f"{it}.pem").read_text() for it in ("key", "certificate", "ca")
            }
            return Identity(**facts, **pems)
        except (OSError, ValueError, TypeError) as error:
            raise NotJoined(
                f"the identity in {self.folder} cannot be read ({error}); remove it and join again"
            ) from None

    def save(self, identity: Identity) -> None:
        """Replace everything in one step. Raises OSError; then the old identity is untouched."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.chmod(self.folder, 0o700)
        versions = [int(it.name.partition("-")[2]) for it in self.folder.glob("version-*")]
        version = self.folder / f"version-{max(versions, default=0) + 1}"
        facts = {key: value for key, value in asdict(identity).items() if not key.endswith("_pem")}
        version.mkdir(mode=0o700)
        write_atomically(version / "key.pem", identity.key_pem.encode(), 0o600)
        write_atomically(version / "certificate.pem", identity.certificate_pem.encode(), 0o644)
        write_atomically(version / "ca.pem", identity.ca_pem.encode(), 0o644)
        write_atomically(version / "server.json", json.dumps(facts, indent=1).encode(), 0o644)
        for name in NAMES:
            with suppress(FileExistsError):
                os.symlink(f"current/{name}", self.folder / name)
        fresh = self.folder / "current.new"
        with suppress(FileNotFoundError):
            fresh.unlink()
        os.symlink(version.name, fresh)
        os.replace(fresh, self.folder / "current")
        sync_folder(self.folder)
        for old in self.folder.glob("version-*"):
            if old != version:
                shutil.rmtree(old, ignore_errors=True)
