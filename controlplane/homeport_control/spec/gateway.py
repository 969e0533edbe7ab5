"""`type: gateway`: where services are published, and with which certificate."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.gateway_host import GatewayHost
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.scalars import yes_or_no
from homeport_control.spec.words import Name, Text

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NEEDS: Mapping[str, tuple[str, ...]] = {"acme": ("directory",), "files": ("cert", "key")}
_MAY_HAVE: Mapping[str, tuple[str, ...]] = {
    "lets-encrypt": ("email", "challenge", "hook"),
    "acme": ("directory", "email", "challenge", "hook"),
    "files": ("cert", "key"),
    "self-signed": (),
    "none": (),
}


def read_domain(value: object) -> str:
    """A name under which services get their own: `example.com`, `localhost`."""
    text = value.strip().lower().removeprefix("*.") if isinstance(value, str) else ""
    if not _DOMAIN.fullmatch(text) or len(text) > 200:
        raise Mistake(f"{quoted(value)} is not a domain", "Write it like `example.com`")
    return text


class Certificate(Model):
    type: Literal["lets-encrypt", "acme", "files", "self-signed", "none"] = Field(
        description="Where it comes from: `lets-encrypt`, another `acme` directory, `files`, `self-signed`, or "
        "`none`: plain HTTP"
    )
    email: Text = Field(None, description="Who is told before it expires, with `lets-encrypt` and `acme`")
    directory: Text = Field(None, description="Address of the directory, with `acme`")
    cert: Text = Field(
        None,
        description="Path of the certificate with its chain, PEM, with `files`: on the server's machine, where it is "
        "read again whenever it changes",
    )
    key: Text = Field(None, description="Path of the private key, PEM, with `files`, there too")
    challenge: Literal["http-01", "dns-01"] | None = Field(
        None,
        description="How a name is proved to `lets-encrypt` and `acme`: `http-01` (when left out), through the gateway itself, "
        "a certificate for each name; or `dns-01`, by a TXT record that `hook` sets, one certificate for `*.DOMAIN`",
    )
    hook: Text = Field(
        None,
        description="Path of the program that sets and takes back TXT records, with `dns-01`: on the server's machine, run "
        "there as the server's user with `present` or `cleanup`, the record's name and its value",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys_belong_to_the_type(self) -> "Certificate":
        given = {key for keys in _MAY_HAVE.values() for key in keys if getattr(self, key) is not None}
        for key in _NEEDS.get(self.type, ()):
            if key not in given:
                raise Mistake(f"`type: {self.type}` needs `{key}`")
        for key in ("cert", "key", "hook"):
            if (path := getattr(self, key)) is not None and not path.startswith("/"):
                raise Mistake(
                    f"`{key}` must be a whole path on the server's machine: {quoted(path)} does not begin with /"
                )
        for key in sorted(given - set(_MAY_HAVE[self.type])):
            raise Mistake(f"`type: {self.type}` has no `{key}`")
        if (self.challenge == "dns-01") != (self.hook is not None):
            raise Mistake("`challenge: dns-01` and `hook` belong together: the hook sets the TXT records")
        return self


def _port(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        raise Mistake(f"{quoted(value)} is not a port", "1 to 65535")
    return value


def _address(value: object) -> object:
    try:
        return str(ipaddress.ip_address(value.strip() if isinstance(value, str) else ""))
    except ValueError:
        raise Mistake(
            f"{quoted(value)} is not an address to listen on", "Write an IP address of the host, or `0.0.0.0` for all"
        ) from None


def _networks(value: object) -> object:
    if not isinstance(value, list):
        return value
    found = []
    for item in value:
        try:
            found.append(str(ipaddress.ip_network(item.strip() if isinstance(item, str) else "")))
        except ValueError:
            raise Mistake(
                f"{quoted(item)} is no address and no network", "Write it like `10.0.0.7` or `10.0.0.0/8`"
            ) from None
    return sorted(set(found))


Port = Annotated[int, reads(_port)]


class GatewaySpec(Model):
    """A gateway: where services are published, under which domain, with which certificate."""

    type: Literal["gateway"] = Field("gateway", description="Always `gateway`")
    name: Annotated[
        Name | None,
        Field(description="Name of the gateway, 2 to 41 lower-case letters, digits and `-`; random when left out"),
    ] = None
    domain: Annotated[str, reads(read_domain)] = Field(
        description="Domain under which services are published: `example.com` gives `NAME.example.com`, and "
        "`gateway.example.com` for models; its DNS must say so"
    )
    default: Annotated[bool, reads(yes_or_no)] = Field(False, description="Publishes the services that name no gateway")
    host: Annotated[GatewayHost, Shown(lambda host: str(host.text))] = Field(
        GatewayHost(hostname="local"),
        description="Where it runs: `local`, beside the server; a host of a fleet, by its name; or any machine by its SSH "
        "address, `ops@edge.example.com` or a map, which then runs gateways only. An agent there installs its Envoy and keeps "
        "it running",
    )
    address: Annotated[str | None, reads(_address)] = Field(
        None,
        description="The address of its host that it listens on; all (`0.0.0.0`) when left out, but `127.0.0.1` with a "
        "domain that ends in `localhost`",
    )
    http_port: Port = Field(80, description="The port for HTTP")
    https_port: Port = Field(443, description="The port for HTTPS, when it has a certificate")
    http3: Annotated[bool, reads(yes_or_no)] = Field(
        False,
        description="HTTP/3 too, by UDP at `https_port`; needs a certificate for all names: `files`, `challenge: dns-01` or "
        "`self-signed`",
    )
    trusted_addresses: Annotated[tuple[str, ...], reads(_networks)] = Field(
        (),
        description="Addresses or networks of proxies before it, like `10.0.0.0/8`: what these say in `X-Forwarded-For` "
        "and `X-Forwarded-Proto` counts, and what others say does not",
    )
    certificate: Certificate = Field(
        Certificate(type="lets-encrypt"),
        description="The certificate for its domain: a word (`lets-encrypt`), or a map; `null`: none, plain HTTP",
    )

    @property
    def listen_address(self) -> str:
        is_loopback = self.domain == "localhost" or self.domain.endswith(".localhost")
        return self.address or ("127.0.0.1" if is_loopback else "0.0.0.0")  # noqa: S104 - it is there to be reached

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """`certificate: null` is a choice, unlike a key without a value elsewhere."""
        if isinstance(value, Mapping) and "certificate" in value and value["certificate"] is None:
            return {**value, "certificate": {"type": "none"}}
        return value
