"""`type: fleet`: hosts that the control plane installs over SSH, or that join by themselves."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, Problem, path_of, quoted
from homeport_control.spec.scalars import duration_or_off_s, duration_text, whole
from homeport_control.spec.service import with_idle_duration
from homeport_control.spec.words import Name, Text, text_or_number

_HOSTNAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:-]{0,252}[A-Za-z0-9_])?")


def hostname(value: object) -> str:
    """A name or an address, without user and port."""
    if not isinstance(value, str) or not _HOSTNAME.fullmatch(value):
        raise Mistake(f"{quoted(value)} is not the name or address of a host", "User and port have keys of their own")
    return value


Hostname = Annotated[str, reads(hostname)]
Port = Annotated[int, reads(lambda value: whole(value, least=1, most=65535))]


class ProxyJump(Model):
    hostname: Hostname = Field(description="The host to go through")
    port: Port = Field(22, description="Its SSH port")
    user: Text = Field(None, description="User there; the fleet's without")
    identity_file: Text = Field(None, description="Private key for it")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"hostname": value} if isinstance(value, str) else value


class FleetHost(Model):
    hostname: Hostname = Field(description="Name or address")
    port: Port | None = Field(None, description="SSH port; the fleet's without")
    user: Text = Field(None, description="User; the fleet's without")
    identity_file: Text = Field(None, description="Private key; the fleet's without")
    proxy_jump: ProxyJump | None = Field(None, description="A host to go through; the fleet's without")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"hostname": value} if isinstance(value, str) else value


def _some(value: object) -> object:
    if value == []:
        raise Mistake("has no host", "List at least one, or leave `ssh_config` out: hosts can join by themselves")
    return value


class SshConfig(Model):
    user: Text = Field(None, description="User on the hosts; needs sudo without a password, or is root")
    port: Port = Field(22, description="SSH port")
    identity_file: Text = Field(None, description="Private key on the caller's machine; the SSH agent without")
    proxy_jump: ProxyJump | None = Field(None, description="A host to go through")
    hosts: Annotated[tuple[FleetHost, ...], reads(_some)] = Field(description="Names, addresses, or maps")


def _labels(value: object) -> object:
    return {key: text_or_number(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


class FleetSpec(Model):
    """One version of a fleet's configuration."""

    type: Literal["fleet"] = Field("fleet", description="`fleet`")
    name: Annotated[Name | None, Field(description="Name of the fleet; random when left out")] = None
    ssh_config: SshConfig | None = Field(None, description="Hosts to install over SSH; without: hosts join themselves")
    provision: Literal["always", "on-demand"] = Field("always", description="`on-demand`: when a run needs the host")
    idle_duration_s: Annotated[int | None, reads(duration_or_off_s), Shown(duration_text)] = Field(
        300, alias="idle_duration", description="When an idle on-demand host is released"
    )
    labels: Annotated[dict[str, str], reads(_labels)] = Field({}, description="Words of your own")
    region: Text = Field(None, description="Region of its hosts; `remote` without")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return with_idle_duration(value)


def rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """No host twice; each has a user."""
    ssh = document.get("ssh_config")
    hosts = ssh.get("hosts") if isinstance(ssh, Mapping) else None
    if not isinstance(ssh, Mapping) or not isinstance(hosts, list):
        return
    seen: set[tuple[str, str]] = set()
    for index, host in enumerate(hosts):
        at = path_of(("ssh_config", "hosts", index))
        entry = host if isinstance(host, Mapping) else {"hostname": host}
        place = (str(entry.get("hostname")), str(entry.get("port") or ssh.get("port") or 22))
        if place in seen:
            yield Problem(at, f"duplicate host {quoted(place[0])}", "Keep one of them")
        seen.add(place)
        if entry.get("user") is None and ssh.get("user") is None:
            yield Problem(at, "has no user", "Add `user` to `ssh_config`, or to this host")
