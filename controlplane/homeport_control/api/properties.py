"""What a plan says of a service before it is submitted: names and values, in the language's own words. Never a secret."""

from collections.abc import Iterator

from homeport_control.decide.scaling import how_scaled, rule_of
from homeport_control.spec.base_image import image_of
from homeport_control.spec.ranges import range_text
from homeport_control.spec.resources import resources_text
from homeport_control.spec.scalars import duration_text
from homeport_control.spec.service import ServiceSpec
from homeport_control.spec.traffic import ModelRoute

PROJECT = "main"  # there is one


def properties(user: str, spec: ServiceSpec, base_image: str) -> tuple[tuple[str, str], ...]:
    """In the order in which they are shown; what is not set, and has no meaning then, is left out.

    Not the code: who sends it knows where it is from and what is left to send.
    """
    return tuple((name, value) for name, value in _properties(user, spec, base_image) if value)


def _properties(user: str, spec: ServiceSpec, base_image: str) -> Iterator[tuple[str, str]]:
    yield "Project", PROJECT
    yield "User", user
    yield "Configuration", spec.type
    yield "Name", spec.name or ""
    yield "Image", image_of(spec, base_image)
    yield "Resources", resources_text(spec.resources)
    rule = rule_of(spec)
    yield "Replicas", range_text(spec.replicas, str) + (f" {how_scaled(rule)}" if rule else "")
    yield "Port", str(spec.port)
    yield "Authentication", "Bearer token" if spec.auth else "none"
    yield "Model", _model(spec.model)
    yield "Volumes", ", ".join(map(str, spec.volumes))
    yield "Privileged", "yes" if spec.privileged else ""
    yield "Retry", "on" if spec.retry else "off"
    yield "Creation policy", spec.creation_policy
    yield "Max duration", duration_text(spec.max_duration_s)
    yield "Stop duration", duration_text(spec.stop_duration_s)
    yield "Start timeout", "" if spec.start_timeout_s is None else duration_text(spec.start_timeout_s)
    yield "Idle duration", duration_text(spec.idle_duration_s)
    yield "Spot policy", spec.spot_policy or ""
    yield "Max price", "" if spec.max_price is None else f"${spec.max_price:g}"
    for name in ("backends", "regions", "instance_types", "fleets", "hosts", "host_labels"):
        yield name.capitalize().replace("_", " "), ", ".join(getattr(spec, name))


def _model(model: ModelRoute | None) -> str:
    if model is None:
        return ""
    names = ", ".join(model.names) + ("" if model.weight is None else f" (weight {model.weight})")
    return names if model.type == "chat" else f"{names} ({model.type})"
