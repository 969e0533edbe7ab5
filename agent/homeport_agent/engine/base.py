"""The engine port: all that the agent ever asks of a container engine, and how it may fail.

EngineError                 one sentence for a user: what, why, what to do; can_heal: trying again may help
├── EngineDown              the engine does not answer
├── EngineHung              it took the call and gave no answer in time
├── NoSuchContainer
├── ImageNotFound           no such image or tag
├── PullDenied              no or wrong credentials
├── RegistryUnreachable     network, name, timeout, a link cut in mid-pull
├── NoSpace                 the disk is full
├── GpuRefused              this host cannot give it its GPUs: the host's fault, not the container's
└── BadContainer            the container itself is wrong: its program, user, mounts

Covers names, not the doing. `tests/contract/test_engine.py` is what any engine must pass.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from homeport_agent.model import Container, LogLine, RegistryAuth, Usage

LABEL_SERVER = "homeport.server"
LABEL_REPLICA = "homeport.replica"
LABEL_RUN = "homeport.run"
LABEL_REVISION = "homeport.revision"
LABEL_INDEX = "homeport.index"
LABEL_PORT = "homeport.port"
LABEL_VOLUME = "homeport.volume"  # a named volume, by the name that its file gives it; never removed by an agent


class EngineError(Exception):
    can_heal = True


class EngineDown(EngineError):
    pass


class EngineHung(EngineError):
    pass


class NoSuchContainer(EngineError):
    can_heal = False


class ImageNotFound(EngineError):
    can_heal = False


class PullDenied(EngineError):
    can_heal = False


class RegistryUnreachable(EngineError):
    pass


class NoSpace(EngineError):
    pass


class BadContainer(EngineError):
    can_heal = False


class GpuRefused(EngineError):
    can_heal = False


@dataclass(frozen=True, slots=True)
class EngineInfo:
    version: str
    data_root: str  # where images and containers lie; its disk is the one that fills up


@dataclass(frozen=True, slots=True)
class NamedVolume:
    """A volume of the engine's own, made with these labels unless it is there."""

    name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container to make. Labels name its server and its replica: without both it would be nobody's."""

    name: str
    labels: tuple[tuple[str, str], ...]
    image: str
    entrypoint: tuple[str, ...] = ()  # empty: the image's own
    command: tuple[str, ...] = field(default=(), repr=False)
    working_dir: str = ""
    user: str = ""
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    port: int = 0  # published on the host's loopback, on a port that the engine picks; 0: none
    gpu_uuids: tuple[str, ...] = ()
    cpu_limit: float = 0.0
    memory_limit_mib: int = 0
    shm_size_mib: int = 0
    binds: tuple[tuple[str, str], ...] = ()  # host path, or name of one of `volumes`; path in the container
    volumes: tuple[NamedVolume, ...] = ()
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class EngineEvent:
    """Something happened to a container of ours. "watching" comes first, once: from there on nothing is missed."""

    action: str  # "watching", "start", "die", "oom", "destroy"
    replica_id: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a container is before something is put in it."""

    user: str  # as whom its program runs: a name or number, with ":group" or not; empty: root
    mounted: tuple[str, ...] = ()  # where host paths and named volumes lie in it


class PathKind(StrEnum):
    NOTHING = "nothing"
    FOLDER = "folder"
    SYMLINK = "symlink"
    FILE = "file"


PullProgress = Callable[[int, int], None]  # bytes done, bytes in all (as far as known)


class Engine(Protocol):
    """Every method raises EngineError and nothing else; every one ends within a deadline of its own."""

    async def info(self) -> EngineInfo: ...

    async def has_image(self, image: str) -> bool: ...

    async def images(self) -> tuple[str, ...]:
        """The tags that it has, sorted."""

    async def pull(self, image: str, auth: RegistryAuth | None, on_progress: PullProgress, stall_s: float) -> None:
        """Fetch an image. Gives up with RegistryUnreachable when nothing at all is heard for `stall_s` seconds.
        Cancelling it ends the download."""

    async def create(self, spec: ContainerSpec) -> str:
        """Make a container and return its id; it does not run yet."""

    async def start(self, container: str) -> Container:
        """Start a container (by id or name) that does not run; also one that ran before."""

    async def inspect(self, container: str) -> Container | None: ...

    async def stop(self, container: str, grace_s: float) -> Container | None:
        """The image's stop signal (SIGTERM), `grace_s`, SIGKILL; returns how it ended, None if there is none."""

    async def remove(self, container: str) -> None:
        """Remove it with its anonymous volumes, running or not. One that does not exist is fine."""

    async def list(self, labels: tuple[tuple[str, str], ...]) -> tuple[Container, ...]:
        """All containers, running or not, that carry all these labels and LABEL_REPLICA."""

    def logs(self, container: str, *, tail: int, since_s: float, follow: bool, since_ns: int = 0) -> "Lines":
        """Lines of a container, oldest first; with `follow` until it ends. tail -1: all.

        since_s: not older than that; 0: any age. since_ns: not before that unix time, in nanoseconds.
        """

    def events(self, labels: tuple[tuple[str, str], ...]) -> "Events":
        """What happens to containers with these labels, from now on, until the engine goes away."""

    async def ground(self, container: str) -> Ground: ...

    async def path_kind(self, container: str, path: str) -> PathKind:
        """What lies at an absolute path of a container, running or not. A symlink at its end is not followed."""

    async def read_file(self, container: str, path: str) -> bytes | None:
        """A small file of a container, running or not, through symlinks; None: there is none, or it is too big."""

    async def put(self, container: str, archive: Iterable[bytes]) -> None:
        """Unpack a tar stream at "/" of a container. `archive` is read in a thread; what it raises is raised here.
        After an error nothing is said of how much has arrived."""

    async def usage(self, container: str) -> Usage: ...

    async def listening_ports(self, container: Container) -> tuple[int, ...]:
        """TCP ports that something inside listens on; empty where that cannot be seen."""

    async def close(self) -> None: ...


# Entered and left, so that the connection behind a stream never outlives its reader.
Lines = AbstractAsyncContextManager[AsyncIterator[LogLine]]
Events = AbstractAsyncContextManager[AsyncIterator[EngineEvent]]
