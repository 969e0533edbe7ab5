"""`host` of a gateway: the server's machine, a host of a fleet, or any machine by its SSH address."""

import re
from typing import Any

from pydantic import Field, model_validator

from homeport_control.spec.base import Model
from homeport_control.spec.fleet import Hostname, Port, ProxyJump
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.words import Text

SSH_PORT = 22
_ADDRESS = re.compile(
    r"((?P<user>[^@\s]+)@)?(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^@\s\[\]:]+)|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*))"
    r"(:(?P<port>[0-9]{1,5}))?"
)


class GatewayHost(Model):
    hostname: Hostname = Field(
        description="Name or address, without user and port; without `user`: `local`, or the name of a host of a fleet"
    )
    port: Port = Field(SSH_PORT, description="Its SSH port")
    user: Text = Field(None, description="User there, who is root or may use sudo")
    identity_file: Text = Field(
        None,
        description="Private key on the caller's machine, RSA, ECDSA or Ed25519, like `~/.ssh/id_ed25519`; the SSH "
        "agent's when left out",
    )
    proxy_jump: ProxyJump | None = Field(None, description="A host to go through on the way, a name or a map")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return split(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_reached_by_somebody(self) -> "GatewayHost":
        if self.user is None and (self.port != SSH_PORT or self.identity_file or self.proxy_jump):
            raise Mistake("has no user", "Add `user`: who logs in by SSH, and is root or may use sudo")
        return self

    @property
    def is_ssh(self) -> bool:
        return self.user is not None

    @property
    def text(self) -> str:
        """Its short form: `local`, `gpu-1`, `ops@edge.example.com:2222`."""
        if not self.is_ssh:
            return self.hostname
        name = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{self.user}@{name}{'' if self.port == SSH_PORT else f':{self.port}'}"


def split(text: str) -> dict[str, Any]:
    """The short form as a map. Raises Mistake."""
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or (found["port"] and not found["user"]):
        hint = "Write `local`, the name of a host of a fleet, or an SSH address like `ops@edge.example.com`"
        raise Mistake(f"{quoted(text)} is neither a host nor an SSH address", hint)
    made: dict[str, Any] = {"hostname": found["v6"] or found["name"] or found["bare"]}
    if found["user"]:
        made["user"] = found["user"]
    if found["port"]:
        made["port"] = int(found["port"])
    return made


def address_of(text: str) -> tuple[str, int] | None:
    """Of a short form: where it is reached by SSH; None: it is the name of a host."""
    if "@" not in text:
        return None
    made = split(text)
    return made["hostname"], made.get("port", SSH_PORT)
