"""How the gateway treats requests of a service: `load_balancing`, `timeouts`, `protocol`."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.scalars import duration_or_off_s, duration_text, whole

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OURS = ("authorization", "host", "cookie", "connection", "content-length", "transfer-encoding")
DEFAULT_COOKIE = "homeport-replica"
DEFAULT_PREFIX_BYTES = 1024
MAX_PREFIX_BYTES = 65536


def _name(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Mistake(f"{quoted(value)} is not the name of a header or a cookie")
    return value


class LoadBalancing(Model):
    """Which replica a request goes to. Without affinity: of two at random the one with fewer requests in flight."""

    affinity: Literal["none", "header", "cookie", "prefix"] = Field(
        "none",
        description="What keeps requests together on one replica: the value of a `header`; a `cookie`, which callers get "
        "with their first answer; or the `prefix`, the first part of the prompt of requests to a model, so that its cache "
        "is used again, unless that replica has half as much more to do than the others",
    )
    name: Annotated[str | None, reads(_name)] = Field(
        None, description=f"Name of the header, or of the cookie, `{DEFAULT_COOKIE}` without one"
    )
    prefix_bytes: Annotated[int | None, reads(lambda value: whole(value, least=16, most=MAX_PREFIX_BYTES))] = Field(
        None, description=f"How much of the prompt counts, with `affinity: prefix`; {DEFAULT_PREFIX_BYTES} without it"
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        if value == "least_request":
            return {}
        return {"affinity": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _keys_belong_to_the_affinity(self) -> "LoadBalancing":
        if self.affinity == "header" and self.name is None:
            raise Mistake("`affinity: header` needs the header's `name`")
        if self.name is not None and self.affinity not in ("header", "cookie"):
            raise Mistake("`name` belongs to `affinity: header` and `affinity: cookie`")
        if self.affinity == "header" and self.name is not None and self.name.lower() in _OURS:
            raise Mistake(f"the header {quoted(self.name)} cannot keep requests together", "Choose one of your own")
        if self.prefix_bytes is not None and self.affinity != "prefix":
            raise Mistake("`prefix_bytes` belongs to `affinity: prefix`")
        return self


class Timeouts(Model):
    """When the gateway gives a request up."""

    response_s: Annotated[int | None, reads(lambda value: duration_or_off_s(value, 1)), Shown(duration_text)] = Field(
        None,
        alias="response",
        description="From the end of the request to the end of the answer, streams included; `off`: a model may think for "
        "as long as it likes",
    )
    idle_s: Annotated[int | None, reads(lambda value: duration_or_off_s(value, 1)), Shown(duration_text)] = Field(
        3600,
        alias="idle",
        description="Without a byte in either direction, streams and WebSockets included; `off`: never",
    )
