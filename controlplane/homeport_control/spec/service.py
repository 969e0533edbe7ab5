"""`type: service`: the whole table of its keys, and the rules that hold between them.

A ServiceSpec is normalised: short forms written out, defaults filled, seconds and MiB. It holds no secret: of `env` the
names, of `registry_auth` only that there is one (env.Secrets has the rest). What is read but not carried out
yet: support.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from homeport_control.spec.base import Model, Shown, reads
from homeport_control.spec.probes import Probe, probes_list
from homeport_control.spec.problems import Mistake, Problem, path_of, quoted
from homeport_control.spec.ranges import Range, range_text
from homeport_control.spec.resources import Resources
from homeport_control.spec.retry import replaces, retry_problems
from homeport_control.spec.scalars import duration_or_off_s, duration_s, duration_text, number, whole, yes_or_no
from homeport_control.spec.traffic import ModelRoute, RateLimit, Scaling, parse_replicas
from homeport_control.spec.volumes import FileMapping, Volume, absolute, mounted_twice
from homeport_control.spec.words import Name, Text, Words, arguments, python_version, text_or_number
from homeport_control.spec.words import image as read_image

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
    """One version of a service's configuration."""

    type: Literal["service"] = Field("service", description="`service`")
    name: Annotated[Name | None, Field(description="Name of the run; random when left out")] = None

    image: Annotated[str | None, reads(read_image)] = Field(None, description="Docker image; excludes `python`, `nvcc`")
    python: Annotated[str | None, reads(python_version)] = Field(None, description="3.9 to 3.14, in the default image")
    nvcc: Flag = Field(False, description="CUDA's compiler, in the default image")
    registry_auth: bool = Field(False, description="`{username, password}` of the image's registry")

    entrypoint: Annotated[tuple[str, ...], reads(arguments)] = Field((), description="Instead of the image's own")
    commands: tuple[str, ...] = Field((), description="Joined with ` && ` and run by `shell`; the image's own without")
    shell: Text = Field(None, description="What runs `commands`; default `sh`")
    working_dir: Text = Field(None, description="Absolute, or relative to the uploaded folder; the image's own without")
    user: Annotated[str | None, reads(text_or_number)] = Field(None, description="User, UID, or `user:group`")
    home_dir: Annotated[str | None, reads(absolute)] = Field(None, description="Home of the user")
    env: tuple[str, ...] = Field((), description="List or map; `NAME` alone is taken from the caller")

    port: Annotated[int, reads(container_port)] = Field(description="The container's port, or `80:8000`")
    resources: Resources = Field(Resources(), description="What each replica needs")
    volumes: tuple[Volume, ...] = Field((), description="`/host/path:/container/path` or `name:/container/path`")
    files: tuple[FileMapping, ...] = Field((), description="Files to send along")
    repo: Annotated[bool | None, reads(yes_or_no)] = Field(None, description="Send the folder of this file along")
    privileged: Flag = Field(False, description="Full rights on the host; needs an admin's token")

    replicas: Annotated[Range[int], reads(parse_replicas), Shown(lambda count: range_text(count, str))] = Field(
        Range(1, 1), description="How many; a range needs `scaling`"
    )
    scaling: Scaling | None = Field(None, description="When replicas are added and taken away")
    probes: Annotated[tuple[Probe, ...], reads(probes_list)] = Field((), description="None: a TCP connect to `port`")
    retry: Annotated[bool, reads(replaces)] = Field(True, description="Replace a replica that dies")

    gateway: Annotated[Name | None, Field(description="Which gateway publishes it; the default one without")] = None
    auth: Flag = Field(True, description="Ask for a token")
    https: Annotated[bool | Literal["auto"], reads(_https)] = Field("auto", description="true, false or auto")
    model: ModelRoute | None = Field(None, description="The model that it serves: a name, or a map")
    rate_limits: tuple[RateLimit, ...] = Field((), description="Requests per second, by path and caller")

    max_duration_s: Annotated[int | None, reads(lambda value: duration_or_off_s(value, 1)), Shown(duration_text)] = (
        Field(None, alias="max_duration", description="Stop it after this time; default off")
    )
    stop_duration_s: Annotated[int, reads(duration_s), Shown(duration_text)] = Field(
        300, alias="stop_duration", description="Bounds draining and stopping, before it is killed"
    )

    creation_policy: Annotated[Literal["reuse", "reuse-or-create"], reads(_creation_policy)] = Field(
        "reuse-or-create", description="`reuse`: only hosts that are connected now"
    )
    idle_duration_s: Annotated[int | None, reads(duration_or_off_s), Shown(duration_text)] = Field(
        300, alias="idle_duration", description="How long an on-demand host stays after it is idle"
    )
    spot_policy: Literal["spot", "on-demand", "auto"] | None = Field(None, description="`spot`, `on-demand`, `auto`")
    max_price: Annotated[float | None, reads(number)] = Field(None, description="Dollars per hour and replica")
    backends: Words = Field((), description="Only hosts of these: `agent`, `ssh`")
    regions: Words = Field((), description="Only hosts of these regions")
    instance_types: Words = Field((), description="Only hosts of these types")
    fleets: Words = Field((), description="Only hosts of these fleets")
    hosts: Words = Field((), description="Only these hosts")

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
