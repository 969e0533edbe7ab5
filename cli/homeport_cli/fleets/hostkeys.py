"""Whom we speak to: the host keys that the caller trusts, and those that are trusted from the first time on.

Read are the caller's own ~/.ssh/known_hosts and ours beside the configuration file; written is ours alone. Format: sshd(8),
"SSH_KNOWN_HOSTS FILE FORMAT". What it does not cover: showing a fingerprint and asking (applying).
"""

import ipaddress
from pathlib import Path

import asyncssh
from homeport_protos.ssh.reach import Trusted

DEFAULT_PORT = 22


class HostKeys:
    def __init__(self, own: Path, callers: Path | None = None) -> None:
        self._own = own
        self._callers = callers if callers is not None else Path.home() / ".ssh" / "known_hosts"
        self._new: dict[tuple[str, int], asyncssh.SSHKey] = {}

    def trusted(self, host: str, port: int) -> Trusted | None:
        """Keys, authorities, revoked keys; None: nothing is known of it."""
        if new := self._new.get((host, port)):
            return [new], [], []
        found: list[list[asyncssh.SSHKey]] = [[], [], []]
        for path in (self._callers, self._own):
            if path.exists():
                known = asyncssh.read_known_hosts(str(path))
                match = asyncssh.match_known_hosts(known, host, _address(host), port)
                for kind, keys in zip(found, match[:3], strict=True):
                    kind.extend(key for key in keys if isinstance(key, asyncssh.SSHKey))
        return (found[0], found[1], found[2]) if found[0] or found[1] else None

    def accept(self, host: str, port: int, key: asyncssh.SSHKey) -> None:
        """For this run; `keep` writes it down."""
        self._new[host, port] = key

    def keep(self) -> None:
        """Write down what was accepted. Raises OSError."""
        if not self._new:
            return
        self._own.parent.mkdir(parents=True, exist_ok=True)
        with self._own.open("a") as file:
            for (host, port), key in self._new.items():
                name = host if port == DEFAULT_PORT else f"[{host}]:{port}"
                algorithm, blob = key.export_public_key("openssh").decode().split()[:2]
                file.write(f"{name} {algorithm} {blob}\n")
        self._new.clear()


def _address(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""
