"""`type: service`: the whole table of its keys, and the rules that hold between them.

A ServiceSpec is normalised: short forms written out, defaults filled, seconds and MiB. It holds no secret: of `env` the
names, of `registry_auth` only that there is one (env.Secrets has the rest). What is read but not carried out
yet: support.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.probes import Probe, probes_list
from homeport_control.spec.problems import Mistake, Problem, path_of, quoted
from homeport_control.spec.ranges import Range, range_text
from homeport_control.spec.resources import Resources
from homeport_control.spec.retry import replaces, retry_problems
from homeport_control.spec.rollout import Rollout
from homeport_control.spec.routing import LoadBalancing, Timeouts
from homeport_control.spec.scalars import (
    duration_or_off_s,
    duration_s,
    duration_text,
    memory_or_off_mib,
    memory_or_off_text,
    number,
    whole,
    yes_or_no,
)
from homeport_control.spec.traffic import ModelRoute, RateLimit, Scaling, parse_replicas
from homeport_control.spec.volumes import FileMapping, Volume, absolute, mounted_twice
from homeport_control.spec.words import Name, Text, Words, arguments, labels, python_version, text_or_number
from homeport_control.spec.words import image as read_image

DEFAULT_IDLE_S = 300
Flag = Annotated[bool, reads(yes_or_no)]


def container_port(value: object) -> int:
    """8000, or `80:8000`: the number before the colon is what a gateway would publish; ours decides that itself."""
    if isinstance(value, str) and ":" in value:
        public, _, value = value.partition(":")
        _port(public)
    return _port(value)


def _port(value: object) -> int:
    try:
        return whole(value, least=1, most=65535)
    except Mistake:
        raise Mistake(f"{quoted(value)} is not a port", "A number from 1 to 65535, or `80:8000`") from None


def _https(value: object) -> bool | str:
    return "auto" if value == "auto" else yes_or_no(value)


def _creation_policy(value: object) -> object:
    return value.replace("_", "-") if isinstance(value, str) else value


class ServiceSpec(Model):
    """A service: a web application or a model, run as one or more replicas behind one address."""

    type: Literal["service"] = Field("service", description="Always `service`")
    name: Annotated[
        Name | None,
        Field(
            description="Name of the run, 2 to 41 lower-case letters, digits and `-`; random (`quiet-otter-3`) when left "
            "out. A finished run of this name is replaced, a running one is updated in place. The service's "
            "address begins with it"
        ),
    ] = None

    image: Annotated[str | None, reads(read_image)] = Field(
        None,
        description="Docker image, like `vllm/vllm-openai:v0.6.2`; excludes `python` and `nvcc`. Without a tag, or "
        "with `:latest`, it is pulled at each start, else only where the host does not have it. Without "
        "`image`: the server's default image",
    )
    python: Annotated[str | None, reads(python_version)] = Field(
        None, description="Version of Python in the default image, `3.9` to `3.14`; `3.11` when left out"
    )
    nvcc: Flag = Field(False, description="Take the default image that has CUDA's compiler")
    registry_auth: bool = Field(
        False,
        description="Credentials for the image's registry, `{username, password}`; write secrets as `${{ env.NAME "
        "}}`. Stored encrypted",
    )

    entrypoint: Annotated[tuple[str, ...], reads(arguments)] = Field(
        (),
        description="Program that the container starts instead of the image's own, as a list or as one line: `tini --`",
    )
    commands: tuple[str, ...] = Field(
        (),
        description="What runs in the container, joined with ` && ` and run by `shell`: the service ends with the "
        "first one that fails. Needed when there is no `image`; with `image` alone its own command runs",
    )
    shell: Text = Field(None, description="What runs `commands`: `sh` when left out, like `bash`, `/bin/zsh`")
    working_dir: Text = Field(
        None,
        description="Folder that the container starts in: absolute, or relative to `/workflow`, where the uploaded "
        "code lies. When left out: `/workflow` with code and `commands`, else the image's own",
    )
    user: Annotated[str | None, reads(text_or_number)] = Field(
        None,
        description="Who runs in the container: a user of the image, a UID, or `user:group`; the image's own when "
        "left out",
    )
    home_dir: Annotated[str | None, reads(absolute)] = Field(
        None, description="Home folder, set as `HOME` in the container unless `env` sets it; absolute, like `/home/me`"
    )
    env: tuple[str, ...] = Field(
        (),
        description="Environment variables, a list (`- NAME=value`) or a map (`NAME: value`). `NAME` without a value "
        "is taken from `-e NAME=value` or from where `homeport apply` runs. Values are stored encrypted "
        "and never shown",
    )

    port: Annotated[int, reads(container_port)] = Field(
        description="Port that the service listens on in its container, 1 to 65535; of `80:8000` the second one. The "
        "replica is ready when it answers there"
    )
    resources: Resources = Field(
        Resources(), description="What each replica needs of its host; a replica goes only where that is free"
    )
    volumes: tuple[Volume, ...] = Field(
        (),
        description="What is mounted: `/host/path:/container/path`, or `name:/container/path`, a volume that Homeport"
        " makes on the first host and keeps: all replicas that mount it run there",
    )
    files: tuple[FileMapping, ...] = Field(
        (),
        description="Files and folders beside this file that are sent along, `local` or `local:/path/in/container`; a"
        " relative path is below `/workflow`",
    )
    repo: Annotated[bool | None, reads(yes_or_no)] = Field(
        None,
        description="Send the folder of this file (of its git repository) along, to `/workflow`, without what "
        "`.gitignore` names; `false` sends none, like `--no-repo`",
    )
    privileged: Flag = Field(False, description="Full rights on the host; needs an admin's token")

    replicas: Annotated[Range[int], reads(parse_replicas), Shown(lambda count: range_text(count, str))] = Field(
        Range(1, 1),
        description="How many run: a number, or a range like `1..4`, which needs `scaling`; at most 1000. `0..4` goes to "
        "zero too. A range needs an upper end, so that no load takes all hosts",
    )
    scaling: Scaling | None = Field(
        None, description="When replicas are added and taken away; needs a range of `replicas`"
    )
    probes: Annotated[tuple[Probe, ...], reads(probes_list)] = Field(
        (),
        description="HTTP requests that must succeed before a replica gets traffic, and go on while it does: one that"
        " fails them leaves the rotation and is restarted. At most 10. When left out: a TCP connection to"
        " `port`",
    )
    start_timeout_s: Annotated[int | None, reads(lambda value: duration_or_off_s(value, 1)), Shown(duration_text)] = (
        Field(
            None,
            alias="start_timeout",
            description="How long a replica's first start may take until it is ready, from its container's start (images and "
            "code come before); it has failed then. `off`: what the server allows by itself, 10 min",
        )
    )
    retry: Annotated[bool, reads(replaces)] = Field(
        True,
        description="Replace a replica that dies, later each time: after 1 s, doubling to 5 min, from the start again"
        " after 10 min of health. `false`: the first replica that fails ends the run. A map `{on_events: "
        "[error, interruption]}` is read too",
    )
    rollout: Rollout = Field(
        Rollout(), description="How an update replaces replicas: one by one, a new one serves first, when left out"
    )

    gateway: Annotated[
        Name | None,
        Field(
            description="Name of the gateway that publishes it; when left out, the one that is the default when it is applied"
        ),
    ] = None
    auth: Flag = Field(
        True,
        description="Ask callers for `Authorization: Bearer TOKEN`: 401 without one, 403 for one that may not call "
        "this service",
    )
    forward_token: Flag = Field(
        False,
        description="Leave the caller's token in the request that the replica gets; without it no replica sees one. "
        "With `auth: false` the header always passes",
    )
    https: Annotated[bool | Literal["auto"], reads(_https)] = Field(
        "auto",
        description="`auto`: HTTPS where the gateway has a certificate, and who comes by HTTP is sent there; `true`: the "
        "same, and refused where the gateway has none; `false`: plain HTTP",
    )
    model: ModelRoute | None = Field(
        None, description="The model that it serves, which callers name at the gateway's own address: a name, or a map"
    )
    rate_limits: tuple[RateLimit, ...] = Field(
        (),
        description="How many requests per second are let in, by path and caller; more are answered with 429. At most 20",
        max_length=20,
    )
    load_balancing: LoadBalancing = Field(
        LoadBalancing(),
        description="Which replica a request goes to: `least_request`, or what keeps requests together, a word or a map",
    )
    timeouts: Timeouts = Field(Timeouts(), description="When the gateway gives a request up")
    max_body_size_mib: Annotated[int | None, reads(memory_or_off_mib), Shown(memory_or_off_text)] = Field(
        None,
        alias="max_body_size",
        description="Largest body of a request, like `100MB`; a larger one is answered with 413. `off`: as large as callers "
        "like. At the models' address never more than 32MB",
    )
    protocol: Literal["http", "h2c"] = Field(
        "http", description="How replicas speak: `http`, HTTP/1.1; `h2c`, HTTP/2 without TLS, for gRPC"
    )

    max_duration_s: Annotated[int | None, reads(lambda value: duration_or_off_s(value, 1)), Shown(duration_text)] = (
        Field(
            None,
            alias="max_duration",
            description="Stop the run this long after it began to serve: it is `terminated` then, with the reason "
            "`max_duration_exceeded`, and has not failed. `off`: never",
        )
    )
    stop_duration_s: Annotated[int, reads(duration_s), Shown(duration_text)] = Field(
        300,
        alias="stop_duration",
        description="How long a replica may take to end its requests and itself: no new requests come, SIGTERM, and "
        "SIGKILL when this time is over",
    )

    creation_policy: Annotated[Literal["reuse", "reuse-or-create"], reads(_creation_policy)] = Field(
        "reuse-or-create",
        description="`reuse`: only hosts that are connected now, like `--reuse`. `reuse-or-create`: also on-demand "
        "hosts of a fleet, which are brought up for it",
    )
    idle_duration_s: Annotated[int | None, reads(duration_or_off_s), Shown(duration_text)] = Field(
        DEFAULT_IDLE_S,
        alias="idle_duration",
        description="How long an on-demand host that was brought up for this run stays when nothing runs on it; "
        "`off`: for ever. `termination_idle_time` is its older name",
    )
    spot_policy: Literal["spot", "on-demand", "auto"] | None = Field(
        None, description="Which offers will do: `spot`, `on-demand`, or `auto` for both. Your own hosts are never spot"
    )
    max_price: Annotated[float | None, reads(number)] = Field(
        None, description="Most that a host may cost, in dollars per hour and replica; your own hosts cost 0"
    )
    backends: Words = Field(
        (),
        description="Only hosts that came by one of these ways: `agent` (joined by itself), `ssh` (installed by the "
        "server)",
    )
    regions: Words = Field((), description="Only hosts of these regions: those that their fleets name, else `remote`")
    instance_types: Words = Field(
        (), description="Only hosts of these instance types; your own hosts have none, so that none fits"
    )
    fleets: Words = Field((), description="Only hosts of these fleets, by name")
    hosts: Words = Field((), description="Only these hosts, by name, id or address")
    host_labels: Annotated[tuple[str, ...], reads(labels)] = Field(
        (), description="Only hosts that have all these labels, like `{rack: a}`; a host says its own when it joins"
    )

    @classmethod
    def long_form(cls, value: Any) -> Any:
        return with_idle_duration(value)

    @property
    def always_pull(self) -> bool:
        """No tag, or `:latest`: what the registry has may have changed."""
        if self.image is None or "@" in self.image:
            return False
        _, colon, tag = self.image.rpartition("/")[2].partition(":")
        return not colon or tag == "latest"

    @property
    def named_volumes(self) -> tuple[str, ...]:
        """Each once, in the order of the file."""
        return tuple(dict.fromkeys(volume.name for volume in self.volumes if volume.name is not None))

    @property
    def run_entrypoint(self) -> tuple[str, ...]:
        """What the container starts; empty: the image's own. `commands` never become arguments of the image's own."""
        if self.entrypoint or not self.commands:
            return self.entrypoint
        return (self.shell or "sh", "-c")

    @property
    def run_command(self) -> tuple[str, ...]:
        """Its arguments; empty: the image's own, unless `run_entrypoint` replaces those too."""
        if not self.commands:
            return ()
        line = " && ".join(self.commands)
        return (self.shell or "sh", "-c", line) if self.entrypoint else (line,)


@lru_cache(maxsize=4096)  # the loops read the same ones at each turn
def spec_from_json(text: str) -> ServiceSpec:
    """Reads what `ServiceSpec.model_dump_json` wrote."""
    return ServiceSpec.model_validate_json(text)


def with_idle_duration(value: Any) -> Any:
    """`termination_idle_time` is the older name of `idle_duration`."""
    old, new = "termination_idle_time", "idle_duration"
    if not isinstance(value, Mapping) or old not in value or new in value:
        return value  # both: the old name stays, and is refused as unknown
    return {new if key == old else key: inner for key, inner in value.items()}


def rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """What holds between keys. On the document itself, so that they are told beside the mistakes of single keys."""
    has = {key for key, value in document.items() if value not in (None, [], {}, "")}
    if "image" in has:
        for key in ("python", "nvcc"):
            if key in has and not (key == "nvcc" and document[key] is False):
                yield Problem(
                    key, f"`image` and `{key}` exclude one another", f"`{key}` is for the default image; remove one"
                )
    if not has & {"commands", "image"}:
        yield Problem("", "either `commands` or `image` must be set", "Say what to run: `image: NAME` or `commands:`")
    yield from retry_problems(document.get("retry"))
    for index, path in mounted_twice(document.get("volumes")):
        yield Problem(path_of(("volumes", index)), f"mounts {quoted(path)} again", "Keep one of them")
    try:
        replicas = parse_replicas(document.get("replicas") if document.get("replicas") is not None else 1)
    except Mistake:
        return  # told with the key itself
    if replicas.is_exact and "scaling" in has:
        yield Problem("scaling", "needs a range of replicas", "Write `replicas: 1..4`")
    if not replicas.is_exact and "scaling" not in has:
        yield Problem(
            "replicas", "a range needs `scaling`", "Write `scaling: {metric: rps, target: 10}`, or one number"
        )
