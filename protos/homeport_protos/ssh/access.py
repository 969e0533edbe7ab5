"""What a server is given to reach a machine by itself: keys, whom it may trust there, a password for sudo.

Made where the keys are, sent over TLS, kept sealed, and used from memory. Whoever has it is root on that machine.
"""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Access:
    private_key: str = field(repr=False)  # OpenSSH's format, without a passphrase
    host_key: str  # "ssh-ed25519 AAAA…": the one that it showed when its owner trusted it
    sudo_password: str = field(default="", repr=False)  # empty: sudo wants none
    jump: "Access | None" = None

    def to_json(self) -> str:
        return json.dumps(_values(self))

    @classmethod
    def from_json(cls, text: str) -> "Access":
        """Reads what `to_json` wrote."""
        return _access(json.loads(text))


def _values(access: Access) -> dict[str, Any]:
    jump = None if access.jump is None else _values(access.jump)
    return {
        "private_key": access.private_key,
        "host_key": access.host_key,
        "sudo_password": access.sudo_password,
        "jump": jump,
    }


def _access(values: dict[str, Any]) -> Access:
    jump = values["jump"]
    return Access(**{**values, "jump": None if jump is None else _access(jump)})
