"""A host that runs no containers, and has no engine: a machine for gateways alone.

Looks find nothing, and are no error: nothing is wrong there. Whatever would make or touch a container is refused in words.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import NoReturn

from homeport_agent.engine.base import (
    ContainerSpec,
    EngineDown,
    EngineEvent,
    EngineInfo,
    Events,
    Ground,
    Lines,
    NoSuchContainer,
    PathKind,
    PullProgress,
)
from homeport_agent.model import Container, RegistryAuth, Usage


class NoEngine:
    """See base.Engine. `data_root`: where what the host keeps lies."""

    def __init__(self, data_root: str) -> None:
        self._data_root = data_root

    async def info(self) -> EngineInfo:
        return EngineInfo("", self._data_root)

    async def has_image(self, image: str) -> bool:
        return False

    async def images(self) -> tuple[str, ...]:
        return ()

    async def pull(self, image: str, auth: RegistryAuth | None, on_progress: PullProgress, stall_s: float) -> None:
        _refuse()

    async def create(self, spec: ContainerSpec) -> str:
        _refuse()

    async def start(self, container: str) -> Container:
        _refuse()

    async def inspect(self, container: str) -> Container | None:
        return None

    async def stop(self, container: str, grace_s: float) -> Container | None:
        return None

    async def remove(self, container: str) -> None:
        return

    async def list(self, labels: tuple[tuple[str, str], ...]) -> tuple[Container, ...]:
        return ()

    def logs(self, container: str, *, tail: int, since_s: float, follow: bool, since_ns: int = 0) -> Lines:
        raise NoSuchContainer(f"there is no container {container}: this host runs none")

    def events(self, labels: tuple[tuple[str, str], ...]) -> Events:
        return _nothing_happens()

    async def ground(self, container: str) -> Ground:
        _refuse()

    async def path_kind(self, container: str, path: str) -> PathKind:
        _refuse()

    async def read_file(self, container: str, path: str) -> bytes | None:
        _refuse()

    async def put(self, container: str, archive: Iterable[bytes]) -> None:
        _refuse()

    async def usage(self, container: str) -> Usage:
        _refuse()

    async def listening_ports(self, container: Container) -> tuple[int, ...]:
        return ()

    async def close(self) -> None:
        return


def _refuse() -> NoReturn:
    raise EngineDown("this host was installed for gateways only and runs no containers; use a host of a fleet")


@asynccontextmanager
async def _nothing_happens() -> AsyncIterator[AsyncIterator[EngineEvent]]:
    async def events() -> AsyncGenerator[EngineEvent, None]:
        yield EngineEvent("watching")
        await asyncio.Event().wait()

    stream = events()
    try:
        yield stream
    finally:
        await stream.aclose()
