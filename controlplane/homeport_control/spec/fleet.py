"""`type: fleet`: hosts that the control plane installs over SSH, or that join by themselves."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, Problem, path_of, quoted
from homeport_control.spec.scalars import duration_or_off_s, duration_text, whole
from homeport_control.spec.service import Flag, with_idle_duration
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
    hostname: Hostname = Field(description="Name or address of the host to go through")
    port: Port = Field(22, description="Its SSH port")
    user: Text = Field(None, description="User there; the fleet's when left out")
    identity_file: Text = Field(
        None, description="Private key for it on the caller's machine, like `~/.ssh/jump`; the fleet's when left out"
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"hostname": value} if isinstance(value, str) else value


_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


def mac_address(value: object) -> str:
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise Mistake(
            f"{quoted(value)} is no hardware address", "Six pairs of hexadecimal digits, like 3c:ec:ef:12:34:56"
        )
    return value.lower().replace("-", ":")


def ipv4_address(value: object) -> str:
    try:
        return str(ipaddress.IPv4Address(value if isinstance(value, str) else ""))
    except ValueError:
        raise Mistake(f"{quoted(value)} is no IPv4 address", "Wake-on-LAN goes over IPv4, like 192.168.1.255") from None


class Wake(Model):
    mac: Annotated[str, reads(mac_address)] = Field(
        description="Hardware address of its network card, `3c:ec:ef:12:34:56`"
    )
    broadcast: Annotated[str, reads(ipv4_address)] = Field(
        "255.255.255.255",
        description="Where the packet is sent to: the broadcast address of its network, when the server is in another one",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"mac": value} if isinstance(value, str) else value


class FleetHost(Model):
    hostname: Hostname = Field(description="Name or address, without user and port: `192.168.1.11`, `gpu-1.lab`")
    port: Port | None = Field(None, description="SSH port; the fleet's when left out")
    user: Text = Field(None, description="User; the fleet's when left out")
    identity_file: Text = Field(None, description="Private key on the caller's machine; the fleet's when left out")
    proxy_jump: ProxyJump | None = Field(
        None, description="A host to go through, a name or a map; the fleet's when left out"
    )
    wake: Wake | None = Field(
        None, description="How an on-demand host that is off is woken: `{mac: 3c:ec:ef:12:34:56}`, by Wake-on-LAN"
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"hostname": value} if isinstance(value, str) else value


def _some(value: object) -> object:
    if value == []:
        raise Mistake("has no host", "List at least one, or leave `ssh_config` out: hosts can join by themselves")
    return value


class SshConfig(Model):
    user: Text = Field(None, description="User on the hosts, who is root or may use sudo")
    port: Port = Field(22, description="SSH port of the hosts")
    identity_file: Text = Field(
        None,
        description="Private key on the caller's machine, RSA, ECDSA or Ed25519, like `~/.ssh/id_ed25519`; the SSH "
        "agent's when left out",
    )
    proxy_jump: ProxyJump | None = Field(
        None, description="A host to go through on the way to all of them, a name or a map"
    )
    hosts: Annotated[tuple[FleetHost, ...], reads(_some)] = Field(
        description="The hosts, at least one: names, addresses, or maps for those that differ"
    )


def _labels(value: object) -> object:
    return {key: text_or_number(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


class FleetSpec(Model):
    """A fleet: hosts that services may use, installed over SSH or joined by themselves."""

    type: Literal["fleet"] = Field("fleet", description="Always `fleet`")
    name: Annotated[
        Name | None,
        Field(description="Name of the fleet, 2 to 41 lower-case letters, digits and `-`; random when left out"),
    ] = None
    ssh_config: SshConfig | None = Field(
        None,
        description="Hosts that the server installs over SSH; when left out, hosts join by themselves (`homeport "
        "fleet join-command`)",
    )
    provision: Literal["always", "on-demand"] = Field(
        "always",
        description="When hosts are installed: `always`, at once, or `on-demand`, when a run needs one; then the server keeps "
        "the keys for it, encrypted",
    )
    idle_duration_s: Annotated[int | None, reads(duration_or_off_s), Shown(duration_text)] = Field(
        300,
        alias="idle_duration",
        description="How long an on-demand host stays when nothing runs on it; `off`: for ever. "
        "`termination_idle_time` is its older name",
    )
    power_off: Flag = Field(
        False,
        description="Shut on-demand hosts down when they are released, instead of only stopping the agent; needs `wake` of "
        "each host",
    )
    labels: Annotated[dict[str, str], reads(_labels)] = Field({}, description="Words of your own, like `{rack: a}`")
    region: Text = Field(None, description="Region of its hosts, for the `regions` of services; `remote` when left out")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return with_idle_duration(value)


def rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """No host twice; each has a user; what goes with on-demand hosts alone, and what these need."""
    ssh = document.get("ssh_config")
    on_demand = document.get("provision") == "on-demand"
    if on_demand and not ssh:
        yield Problem("provision", "`on-demand` needs hosts to bring up", "List them under `ssh_config`")
    if not on_demand and document.get("power_off"):
        yield Problem("power_off", "is for on-demand hosts", "Write `provision: on-demand`, or leave it out")
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
        yield from _of_on_demand(at, entry, ssh, on_demand=on_demand, power_off=bool(document.get("power_off")))


def _of_on_demand(
    at: str, entry: Mapping[str, Any], ssh: Mapping[str, Any], *, on_demand: bool, power_off: bool
) -> Iterator[Problem]:
    if not on_demand:
        if entry.get("wake") is not None:
            yield Problem(f"{at}.wake", "is for on-demand hosts", "Write `provision: on-demand`, or leave it out")
        return
    if entry.get("identity_file") is None and ssh.get("identity_file") is None:
        hint = "Name `identity_file`: the server keeps that key, encrypted; it cannot ask your SSH agent"
        yield Problem(at, "has no key that the server could bring it up with", hint)
    if power_off and entry.get("wake") is None:
        hint = "Add `wake: {mac: …}` to it, or leave `power_off` out"
        yield Problem(at, "could not be switched on again after `power_off`", hint)
