"""A container engine in memory, verified by tests/contract/test_engine.py against the real one.

Covers what the agent asks of an engine, with programs given as values. Steered by tests: `is_down`, `hold` (block at a
named point until released), `end` (a container dies by itself). Does not cover images' contents and networks.
"""

import asyncio
import io
import itertools
import tarfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from homeport_agent.engine.base import (
    LABEL_INDEX,
    LABEL_REPLICA,
    LABEL_REVISION,
    LABEL_RUN,
    BadContainer,
    ContainerSpec,
    EngineDown,
    EngineError,
    EngineEvent,
    EngineInfo,
    GpuRefused,
    Ground,
    ImageNotFound,
    NoSuchContainer,
    PathKind,
    PullProgress,
    RegistryUnreachable,
)
from homeport_agent.model import Container, LogLine, RegistryAuth, Usage
from homeport_protos.logs import unix_ns


@dataclass(frozen=True, slots=True)
class Program:
    """What a command does: prints, then ends with `exits` (None: runs on), and how it takes SIGTERM."""

    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    exits: int | None = None
    on_term: int | None = 0  # exit code; None: it catches the signal and goes on
    prints_env: str = ""


@dataclass(frozen=True, slots=True)
class FakeFile:
    """What lies at one path of a container."""

    kind: PathKind
    data: bytes = b""
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)
    link: str = ""


IMAGE_FILES = {
    "/etc": FakeFile(PathKind.FOLDER),
    "/etc/passwd": FakeFile(PathKind.FILE, b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n", 0o644),
    "/etc/group": FakeFile(PathKind.FILE, b"root:x:0:\nnogroup:x:65534:\n", 0o644),
    "/tmp": FakeFile(PathKind.FOLDER, mode=0o1777),
}


@dataclass
class FakeContainer:
    spec: ContainerSpec
    shown: Container
    files: dict[str, FakeFile] = field(default_factory=lambda: dict(IMAGE_FILES))
    lines: list[LogLine] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)  # a line, or the end
    has_ended: asyncio.Event = field(default_factory=asyncio.Event)


class FakeEngine:
    def __init__(self, images: set[str], programs: Mapping[tuple[str, ...], Program]) -> None:
        self.known_images = set(images)
        self.registry: dict[str, EngineError | int] = {}  # image -> bytes, or why it cannot be pulled
        self.programs = dict(programs)
        self.containers: dict[str, FakeContainer] = {}
        self.calls: list[str] = []
        self.is_down = False
        self.put_fails: list[EngineError] = []  # the next puts fail with these, half-way
        self.refuses_gpus = ""  # why it cannot give any: Docker says so when the container is started
        self.used = Usage(1.5, 100, 1024)
        self._numbers = itertools.count(1)
        self._held: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._watchers: list[tuple[dict[str, str], asyncio.Queue[EngineEvent | None]]] = []

    # --- steering ---

    @contextmanager
    def hold(self, point: str) -> Any:
        """Calls of this name wait at their beginning until the block is left. Gives a coroutine that waits for one."""
        self._held[point], self._reached[point] = asyncio.Event(), asyncio.Event()

        async def reached() -> None:
            async with asyncio.timeout(5):
                await self._reached[point].wait()

        try:
            yield reached
        finally:
            self._held.pop(point).set()

    def end(self, name: str, exit_code: int, *, oom: bool = False) -> None:
        """The container's program ends by itself."""
        found = self.containers[name]
        if not found.shown.is_running:
            return
        found.shown = replace(
            found.shown, is_running=False, exit_code=exit_code, oom_killed=oom, ip="", host_port=0, pid=0
        )
        found.news.set()
        found.has_ended.set()
        self._tell("die", found)

    def go_down(self) -> None:
        """The engine stops answering; its streams break off."""
        self.is_down = True
        for _, queue in self._watchers:
            queue.put_nowait(None)

    def come_back(self) -> None:
        self.is_down = False

    # --- the port ---

    async def info(self) -> EngineInfo:
        await self._enter("info")
        return EngineInfo("0.0-fake", "/")

    async def images(self) -> tuple[str, ...]:
        await self._enter("images")
        return tuple(sorted(self.known_images))

    async def has_image(self, image: str) -> bool:
        await self._enter("has_image")
        return image in self.known_images

    async def pull(self, image: str, auth: RegistryAuth | None, on_progress: PullProgress, stall_s: float) -> None:
        await self._enter("pull")
        found = self.registry.get(image, RegistryUnreachable(f"the registry of {image} cannot be reached: refused"))
        if isinstance(found, EngineError):
            raise found
        on_progress(found // 2, found)
        on_progress(found, found)
        self.known_images.add(image)

    async def create(self, spec: ContainerSpec) -> str:
        await self._enter("create")
        if spec.image not in self.known_images:
            raise ImageNotFound(f"image {spec.image} is not on this host any more")
        if spec.name in self.containers:
            raise EngineError(f"the container of {spec.image} did not start: the name {spec.name} is already in use")
        labels = dict(spec.labels)
        shown = Container(
            id=f"id-{next(self._numbers)}",
            replica_id=labels.get(LABEL_REPLICA, ""),
            is_running=False,
            was_started=False,
            run_name=labels.get(LABEL_RUN, ""),
            revision=int(labels.get(LABEL_REVISION, "0")),
            index=int(labels.get(LABEL_INDEX, "0")),
        )
        self.containers[spec.name] = FakeContainer(spec, shown)
        return shown.id

    async def start(self, container: str) -> Container:
        await self._enter("start")
        found = self._existing(container)
        spec, number = found.spec, next(self._numbers)
        if spec.gpu_uuids and self.refuses_gpus:
            raise GpuRefused(self.refuses_gpus)
        program = self.programs.get((*spec.entrypoint, *spec.command))
        if spec.user not in ("", "root", "nobody"):
            raise BadContainer(f"image {spec.image} does not know this user: {spec.user}; check user")
        if program is None:
            name = (*spec.entrypoint, *spec.command)[0]
            raise BadContainer(f"image {spec.image} has no program {name!r}: check commands, entrypoint or shell")
        found.shown = replace(
            found.shown,
            is_running=True,
            was_started=True,
            exit_code=None,
            ip="127.0.0.1",
            host_port=30000 + number if spec.port else 0,
            pid=number,
        )
        found.has_ended = asyncio.Event()
        self._print(found, program)
        self._tell("start", found)
        if program.exits is not None:
            self.end(spec.name, program.exits)
        return found.shown

    async def inspect(self, container: str) -> Container | None:
        await self._enter("inspect")
        found = self._find(container)
        return found.shown if found else None

    async def stop(self, container: str, grace_s: float) -> Container | None:
        await self._enter("stop")
        found = self._find(container)
        if found is None or not found.shown.is_running:
            return found.shown if found else None
        program = self.programs[(*found.spec.entrypoint, *found.spec.command)]
        if grace_s > 0 and program.on_term is None:
            try:
                async with asyncio.timeout(grace_s):
                    await found.has_ended.wait()
            except TimeoutError:
                self.end(found.spec.name, 137)
        else:
            self.end(found.spec.name, 137 if grace_s <= 0 or program.on_term is None else program.on_term)
        return found.shown

    async def remove(self, container: str) -> None:
        await self._enter("remove")
        found = self._find(container)
        if found is not None:
            self.end(found.spec.name, 137)
            del self.containers[found.spec.name]
            self._tell("destroy", found)

    async def list(self, labels: tuple[tuple[str, str], ...]) -> tuple[Container, ...]:
        await self._enter("list")
        return tuple(it.shown for it in self.containers.values() if _has(it.spec, dict(labels)))

    @asynccontextmanager
    async def logs(
        self, container: str, *, tail: int, since_s: float, follow: bool, since_ns: int = 0
    ) -> AsyncIterator[AsyncIterator[LogLine]]:
        await self._enter("logs")
        found = self._existing(container)

        async def lines() -> AsyncIterator[LogLine]:
            place = 0 if tail < 0 else max(0, len(found.lines) - tail)
            while True:
                while place < len(found.lines):
                    if unix_ns(found.lines[place].timestamp) >= since_ns:
                        yield found.lines[place]
                    place += 1
                if not follow or not found.shown.is_running:
                    return
                found.news.clear()
                await found.news.wait()

        yield lines()

    @asynccontextmanager
    async def events(self, labels: tuple[tuple[str, str], ...]) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        await self._enter("events")
        watcher: tuple[dict[str, str], asyncio.Queue[EngineEvent | None]] = (dict(labels), asyncio.Queue())
        self._watchers.append(watcher)

        async def happened() -> AsyncIterator[EngineEvent]:
            yield EngineEvent("watching")
            while (event := await watcher[1].get()) is not None:
                yield event

        try:
            yield happened()
        finally:
            self._watchers.remove(watcher)

    async def ground(self, container: str) -> Ground:
        await self._enter("ground")
        spec = self._existing(container).spec
        return Ground(spec.user, tuple(target for _, target in spec.binds))

    async def path_kind(self, container: str, path: str) -> PathKind:
        await self._enter("path_kind")
        found = self._existing(container).files.get(path)
        return found.kind if found else PathKind.NOTHING

    async def read_file(self, container: str, path: str) -> bytes | None:
        await self._enter("read_file")
        found = self._existing(container).files.get(path)
        if found is not None and found.kind is PathKind.SYMLINK:
            return await self.read_file(container, str(PurePosixPath(path).parent / found.link))
        return found.data if found is not None and found.kind is PathKind.FILE else None

    async def put(self, container: str, archive: Iterable[bytes]) -> None:
        await self._enter("put")
        files = self._existing(container).files
        whole = await asyncio.to_thread(b"".join, archive)
        with tarfile.open(fileobj=io.BytesIO(whole)) as entries:
            for entry in entries:
                if self.put_fails:
                    raise self.put_fails.pop(0)
                kind = PathKind.FOLDER if entry.isdir() else PathKind.SYMLINK if entry.issym() else PathKind.FILE
                file = entries.extractfile(entry) if entry.isreg() else None
                data, owner = file.read() if file else b"", (entry.uid, entry.gid)
                files[f"/{entry.name}"] = FakeFile(kind, data, entry.mode, owner, entry.linkname)

    async def usage(self, container: str) -> Usage:
        await self._enter("usage")
        if not self._existing(container).shown.is_running:
            raise EngineError("its container does not run")
        return self.used

    async def listening_ports(self, container: Container) -> tuple[int, ...]:
        return ()

    async def close(self) -> None:
        return

    def say(self, name: str, text: str) -> None:
        """The container's program prints a line."""
        found = self.containers[name]
        self._line(found, text, "stdout")

    # --- inside ---

    async def _enter(self, point: str) -> None:
        self.calls.append(point)
        if point in self._held:
            self._reached[point].set()
            await self._held[point].wait()
        if self.is_down:
            raise EngineDown(
                "Docker does not answer at /fake.sock: it is not running; start it with: service docker start"
            )

    def _find(self, container: str) -> FakeContainer | None:
        matches: Callable[[FakeContainer], bool] = lambda it: container in (it.spec.name, it.shown.id)  # noqa: E731
        return next((it for it in self.containers.values() if matches(it)), None)

    def _existing(self, container: str) -> FakeContainer:
        found = self._find(container)
        if found is None:
            raise NoSuchContainer(f"No such container: {container}")
        return found

    def _print(self, found: FakeContainer, program: Program) -> None:
        for text in program.stdout:
            self._line(found, text, "stdout")
        for text in program.stderr:
            self._line(found, text, "stderr")
        if program.prints_env:
            self._line(found, dict(found.spec.env).get(program.prints_env, ""), "stdout")

    def _line(self, found: FakeContainer, text: str, stream: str) -> None:
        stamp = f"2026-01-01T00:00:00.{len(found.lines):09d}Z"
        found.lines.append(LogLine(text.encode(), stream, stamp))
        found.news.set()

    def _tell(self, action: str, found: FakeContainer) -> None:
        for labels, queue in self._watchers:
            if _has(found.spec, labels):
                queue.put_nowait(EngineEvent(action, found.shown.replica_id))


def _has(spec: ContainerSpec, labels: Mapping[str, str]) -> bool:
    own = dict(spec.labels)
    return LABEL_REPLICA in own and all(own.get(key) == value for key, value in labels.items())
