"""`probes`: what must answer before a replica gets traffic. Without any, the agent connects to `port` by TCP."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.scalars import duration_s, duration_text, whole

Method = Literal["get", "post", "put", "patch", "delete", "head", "options"]


def url_path(value: object) -> str:
    """A path on the service's port."""
    if not isinstance(value, str) or not value.startswith("/") or any(letter <= " " for letter in value):
        raise Mistake(f"{quoted(value)} is not a path", "It starts with `/`, like `/health`, and holds no blanks")
    return value


def _method(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _seconds(value: object) -> int:
    return duration_s(value, least_s=1)


def _token(value: object) -> str:
    if not isinstance(value, str) or not value or not all(letter.isalnum() or letter in "-_.!" for letter in value):
        raise Mistake(f"{quoted(value)} is not the name of a header")
    return value


def _one_line(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or "\n" in value or "\r" in value:
        raise Mistake("must be text on one line")
    return value


class Header(Model):
    name: Annotated[str, reads(_token)] = Field(description="Name of the header")
    value: Annotated[str, reads(_one_line)] = Field(description="Its value, on one line")


def _headers(value: object) -> object:
    return [{"name": name, "value": inner} for name, inner in value.items()] if isinstance(value, dict) else value


class Probe(Model):
    """One HTTP request to the replica's port; a status from 200 to 399 passes."""

    type: Literal["http"] = Field(description="Always `http`")
    url: Annotated[str, reads(url_path)] = Field(
        "/", description="Path that is asked on the service's port, like `/health`"
    )
    method: Annotated[Method, reads(_method)] = Field(
        "get", description="HTTP method: `get`, `head`, `options`, `post`, `put`, `patch`, `delete`"
    )
    headers: Annotated[tuple[Header, ...], reads(_headers)] = Field(
        (), description="Headers of the request: a list of `{name, value}`, or a map"
    )
    body: str = Field("", description="Body of the request; not with `get` and `head`")
    timeout_s: Annotated[int, reads(_seconds), Shown(duration_text)] = Field(
        10, alias="timeout", description="How long one try may take, at least 1 s"
    )
    interval_s: Annotated[int, reads(_seconds), Shown(duration_text)] = Field(
        5, alias="interval", description="Time between two tries of a replica that is ready, at least 1 s"
    )
    ready_after: Annotated[int, reads(lambda value: whole(value, least=1, most=1000))] = Field(
        1, description="How many tries must pass in a row before the replica gets traffic, 1 to 1000"
    )

    @model_validator(mode="after")
    def _body_only_where_it_is_sent(self) -> "Probe":
        if self.body and self.method in {"get", "head"}:
            raise Mistake(f"`{self.method}` has no `body`", "Set `method: post`")
        return self


def probes_list(value: Any) -> Any:
    """At most 10: each is a connection per interval and replica."""
    if isinstance(value, list) and len(value) > 10:
        raise Mistake(f"has {len(value)} probes, at most 10 are possible")
    return value
