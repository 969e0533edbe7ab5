"""`type: gateway`: where services are published, and with which certificate."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, reads
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.scalars import yes_or_no
from homeport_control.spec.words import Name, Text

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NEEDS: Mapping[str, tuple[str, ...]] = {"acme": ("directory",), "files": ("cert", "key")}
_MAY_HAVE: Mapping[str, tuple[str, ...]] = {
    "lets-encrypt": ("email",),
    "acme": ("directory", "email"),
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
    cert: Text = Field(None, description="Path of the certificate with its chain, PEM, with `files`")
    key: Text = Field(None, description="Path of the private key, PEM, with `files`")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys_belong_to_the_type(self) -> "Certificate":
        given = {key for key in ("email", "directory", "cert", "key") if getattr(self, key) is not None}
        for key in _NEEDS.get(self.type, ()):
            if key not in given:
                raise Mistake(f"`type: {self.type}` needs `{key}`")
        for key in sorted(given - set(_MAY_HAVE[self.type])):
            raise Mistake(f"`type: {self.type}` has no `{key}`")
        return self


class GatewaySpec(Model):
    """A gateway: where services are published, under which domain, with which certificate. This version refuses it."""

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
    host: str = Field(
        "local",
        min_length=1,
        description="Where it runs: `local`, beside the server; a host of a fleet; or an SSH address",
    )
    certificate: Certificate = Field(
        Certificate(type="lets-encrypt"),
        description="The certificate for its domain: a word (`lets-encrypt`), or a map; `null`: none, plain HTTP",
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """`certificate: null` is a choice, unlike a key without a value elsewhere."""
        if isinstance(value, Mapping) and "certificate" in value and value["certificate"] is None:
            return {**value, "certificate": {"type": "none"}}
        return value
