"""Who may send how much, and what follows from it: `model`, `scaling`, `rate_limits`, `replicas`."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.probes import url_path
from homeport_control.spec.problems import Mistake, quoted
from homeport_control.spec.ranges import Range, parse_range
from homeport_control.spec.scalars import duration_s, duration_text, number, whole

MAX_REPLICAS = 1000
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


def parse_replicas(value: object) -> Range[int]:
    """An exact number, at least 1, or a range with an upper end; its lower end may be 0."""
    found = parse_range(value, lambda end: whole(end, most=MAX_REPLICAS), "range of replicas")
    if found.max is None:
        raise Mistake("needs an upper end", f"Write `{found.min}..{max(found.min or 0, 1) + 1}`")
    if found.max == 0:
        raise Mistake("must be at least 1", "`homeport stop` stops a service; `0..1` with `scaling` scales it to zero")
    return Range(found.min or 0, found.max)


def _target(value: object) -> float:
    target = number(value)
    if target == 0:
        raise Mistake("must be larger than 0")
    return target


class Scaling(Model):
    """When a replica is added or taken away."""

    metric: Literal["rps", "concurrency"] = Field(
        description="What is measured: `rps`, requests per second, or `concurrency`, requests in flight"
    )
    target: Annotated[float, reads(_target)] = Field(description="How much of it one replica should carry, more than 0")
    scale_up_delay_s: Annotated[int, reads(duration_s), Shown(duration_text)] = Field(
        300,
        alias="scale_up_delay",
        description="Time from one change of the number of replicas to the next one upwards",
    )
    scale_down_delay_s: Annotated[int, reads(duration_s), Shown(duration_text)] = Field(
        600,
        alias="scale_down_delay",
        description="Time from one change of the number of replicas to the next one downwards",
    )
    window_s: Annotated[int, reads(lambda value: duration_s(value, least_s=1)), Shown(duration_text)] = Field(
        60, alias="window", description="Time over which the metric is averaged, at least 1 s"
    )


class RateLimit(Model):
    """How many requests per second; more are answered with 429."""

    prefix: Annotated[str, reads(url_path)] = Field(
        "/", description="Paths that it holds for: all that begin with this"
    )
    rps: Annotated[float, reads(_target)] = Field(
        description="Requests per second, more than 0; fractions too, `0.5` is one in two seconds"
    )
    burst: Annotated[int, reads(whole)] = Field(0, description="How many more may come at once")
    key: Literal["ip", "header", "token"] = Field(
        "ip",
        description="Who is counted together: callers of one `ip`, with one value of a `header`, or with one `token`",
    )
    header: str | None = Field(None, description="Name of the header, with `key: header`")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        """Takes `key: {type: ip_address}` and `key: {type: header, header: NAME}` too."""
        if not isinstance(value, Mapping) or not isinstance(value.get("key"), Mapping):
            return value
        key = dict(value["key"])
        kind, header = key.pop("type", None), key.pop("header", None)
        if key:
            raise Mistake(f"unknown key {quoted(str(next(iter(key))))} in `key`", "Known: `type`, `header`")
        named = {} if header is None else {"header": header}
        return {**value, "key": "ip" if kind == "ip_address" else kind, **named}

    @model_validator(mode="after")
    def _header_has_a_name(self) -> "RateLimit":
        if (self.key == "header") != (self.header is not None):
            raise Mistake("`key: header` and `header: NAME` need one another")
        if self.header is not None and not _HEADER.fullmatch(self.header):
            raise Mistake(f"{quoted(self.header)} is not the name of a header")
        return self


MAX_MODEL_NAMES = 20
MAX_WEIGHT = 1_000_000
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


def _model_names(value: object) -> object:
    """One name as it is; a list of one is that name."""
    if not isinstance(value, list):
        return value
    if not 0 < len(value) <= MAX_MODEL_NAMES:
        raise Mistake(f"needs 1 to {MAX_MODEL_NAMES} names")
    if not all(isinstance(name, str) for name in value):
        raise Mistake("must be a name, or a list of names")
    for index, name in enumerate(value):
        if name in value[:index]:
            raise Mistake(f"has {quoted(name)} twice", "Keep one of them")
    return value[0] if len(value) == 1 else tuple(value)


class ModelRoute(Model):
    """The model that this service answers for, by name, at the gateway's own address."""

    type: Literal["chat", "completions", "embeddings"] = Field(
        "chat",
        description="What it does, which is the path that it answers: `chat` (`/chat/completions`), `completions`, "
        "`embeddings`",
    )
    name: Annotated[ModelName | tuple[ModelName, ...], reads(_model_names)] = Field(
        description="Name by which callers ask for it, like `meta-llama/Meta-Llama-3.1-8B-Instruct`; or a list of up to "
        f"{MAX_MODEL_NAMES} names for the same",
    )
    weight: Annotated[int | None, reads(lambda value: whole(value, most=MAX_WEIGHT))] = Field(
        None,
        description="Share its names with the other services that declare them, this much of the requests against their "
        "weights, like `10` beside `90`; `100` when only they have one. Without it a name that is taken is refused",
    )
    format: Literal["openai", "tgi"] = Field(
        "openai",
        description="How it speaks: `openai`; `tgi`, TGI's own protocol, is refused: TGI 1.4 and later speak OpenAI's too",
    )
    prefix: Annotated[str, reads(url_path)] = Field(
        "/v1", description="Path before `/chat/completions` in the container, with `format: openai`"
    )
    chat_template: str | None = Field(None, description="The model's chat template, with `format: tgi`")
    eos_token: str | None = Field(None, description="The token that ends an answer, with `format: tgi`")

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,) if isinstance(self.name, str) else self.name

    @model_validator(mode="after")
    def _keys_belong_to_the_format(self) -> "ModelRoute":
        if self.format == "openai" and (self.chat_template is not None or self.eos_token is not None):
            raise Mistake("`chat_template` and `eos_token` belong to `format: tgi`")
        if self.format == "tgi" and self.type != "chat":
            raise Mistake("`format: tgi` is for `type: chat` only")
        return self
