"""What the language has and this version does not carry out: refused by name, never ignored. Shrinks as issues land."""

from collections.abc import Iterator

from homeport_control.spec.document import Spec
from homeport_control.spec.fleet import FleetSpec
from homeport_control.spec.gateway import GatewaySpec
from homeport_control.spec.problems import Problem
from homeport_control.spec.service import ServiceSpec


def unsupported(spec: Spec) -> tuple[Problem, ...]:
    """One problem per key."""
    if isinstance(spec, FleetSpec):
        return ()
    if isinstance(spec, GatewaySpec):
        is_local = spec.domain == "localhost" or spec.domain.endswith(".localhost")
        if spec.certificate.type == "lets-encrypt" and is_local:
            hint = "Write `certificate: self-signed`, or `certificate: null`"
            return (Problem("certificate", f"Let's Encrypt gives none for `{spec.domain}`", hint),)
        return tuple(_of_http3(spec))
    return tuple(_of_service(spec))


def _of_http3(spec: GatewaySpec) -> Iterator[Problem]:
    certificate = spec.certificate
    if spec.http3 and certificate.type == "none":
        yield Problem("http3", "HTTP/3 needs a certificate", "Give the gateway a `certificate`, or remove `http3`")
    elif spec.http3 and certificate.type in {"lets-encrypt", "acme"} and certificate.hook is None:
        yield Problem(
            "http3",
            "HTTP/3 needs one certificate for all names, and `http-01` proves each by itself",
            "Write `challenge: dns-01` with a `hook` in `certificate`, or remove `http3`",
        )


def _of_service(spec: ServiceSpec) -> Iterator[Problem]:
    if spec.model is not None and spec.model.format == "tgi":
        yield Problem(
            "model.format",
            "`format: tgi` is not supported: Homeport translates no requests",
            "TGI 1.4 and later speak OpenAI's protocol themselves: write `format: openai`, "
            "without `chat_template` and `eos_token`",
        )
