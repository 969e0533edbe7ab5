"""The awaited work behind each instruction: engine calls in, the event that tells their end out.

Covers the doing of one instruction. Does not cover order and cancelling (runner) nor what follows (machine).
"""

import os
from collections.abc import Callable
from contextlib import suppress

from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent import restarts
from homeport_agent.admit import Admission
from homeport_agent.code.base import Code, CodeError
from homeport_agent.engine.base import (
    LABEL_INDEX,
    LABEL_PORT,
    LABEL_REPLICA,
    LABEL_REVISION,
    LABEL_RUN,
    LABEL_SERVER,
    LABEL_VOLUME,
    BadContainer,
    ContainerSpec,
    Engine,
    EngineError,
    GpuRefused,
    ImageNotFound,
    NamedVolume,
    NoSpace,
    RegistryUnreachable,
)
from homeport_agent.log_archive import LogArchive
from homeport_agent.model import AssignedReplica

PULL_STALL_S = 120.0  # dockerd itself retries a cut link for 75 s and says so all the while
LOCAL_PULL_STALL_S = 10.0  # an image that is here already does not wait long for a registry that is silent
LOG_TAIL_LINES = 20
_LOG_LINE_BYTES = 1000  # a failure travels with every report

Feed = Callable[[ev.WorkEvent], None]


def container_name(replica_id: str) -> str:
    """The name of a replica's container: made twice, the second one is refused by the engine."""
    return f"homeport-{replica_id}"


def has_registry(image: str) -> bool:
    """Whether the image's name says where it comes from (`host/…`, `host:port/…`)."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def volume_name(server_id: str, name: str) -> str:
    """How the engine calls a named volume: those of two servers on one host are two."""
    return f"homeport-{server_id}-{name}"


def container_spec(assigned: AssignedReplica, server_id: str) -> ContainerSpec:
    """Raises BadContainer when a bind that is not optional names a host path that does not exist."""
    binds = []
    named: dict[str, NamedVolume] = {}
    for volume in assigned.volumes:
        if not volume.source.startswith("/"):
            name = volume_name(server_id, volume.source)
            named[name] = NamedVolume(name, ((LABEL_SERVER, server_id), (LABEL_VOLUME, volume.source)))
            binds.append((name, volume.target))
            continue
        if not os.path.exists(volume.source):
            if not volume.optional:
                raise BadContainer(
                    f"the host path {volume.source} does not exist on this host; make it, or say optional"
                )
            continue
        binds.append((volume.source, volume.target))
    return ContainerSpec(
        name=container_name(assigned.replica_id),
        labels=(
            (LABEL_SERVER, server_id),
            (LABEL_REPLICA, assigned.replica_id),
            (LABEL_RUN, assigned.run_name),
            (LABEL_REVISION, str(assigned.revision)),
            (LABEL_INDEX, str(assigned.index)),
            (LABEL_PORT, str(assigned.container_port)),
        ),
        image=assigned.image,
        entrypoint=assigned.entrypoint,
        command=assigned.command,
        working_dir=assigned.working_dir,
        user=assigned.user,
        env=assigned.env,
        port=assigned.container_port,
        gpu_uuids=assigned.gpu_uuids,
        cpu_limit=assigned.cpu_limit,
        memory_limit_mib=assigned.memory_limit_mib,
        shm_size_mib=assigned.shm_size_mib,
        binds=tuple(binds),
        volumes=tuple(named.values()),
        privileged=assigned.privileged,
    )


class Work:
    """Does instructions on one engine for one server. Raises nothing but bugs: a failure is its event."""

    def __init__(
        self,
        engine: Engine,
        server_id: str,
        feed: Feed,
        code: Code,
        archive: LogArchive | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._admission = admission  # None: every container may have its GPUs
        self._engine = engine
        self._archive = archive
        self._server_id = server_id
        self._feed = feed
        self._code = code

    async def perform(self, order: do.Instruction) -> ev.WorkEvent:
        match order:
            case do.PullImage():
                return await self._pull(order.replica_id, order.assigned)
            case do.StartContainer():
                return await self._start(order.replica_id, order.assigned)
            case do.RestartContainer():
                return await self._restart(order)
            case do.StopContainer():
                return await self._stop(order)
            case do.RemoveContainer():
                return await self._remove(order.replica_id)
            case _:
                raise AssertionError(f"{order} is no work of the engine")

    async def look(self, replica_id: str) -> ev.WorkEvent | None:
        """See how a replica's container is. None: the engine does not say, which is no news about the container."""
        try:
            container = await self._engine.inspect(container_name(replica_id))
        except EngineError:
            return None
        tail = () if container is None or container.is_running else await self._log_tail(container.id)
        return ev.ContainerSeen(replica_id, container, tail)

    async def _pull(self, replica_id: str, assigned: AssignedReplica) -> ev.WorkEvent:
        """The image, then the code that goes into its container."""
        if self._admission and (refused := self._admission.refused_at_once(assigned)):
            return ev.AdmissionRefused(replica_id, refused)
        image = await self._pull_image(replica_id, assigned)
        if not isinstance(image, ev.ImageReady):
            return image
        try:
            await self._fetch(assigned)
        except CodeError as error:
            return ev.PullFailed(replica_id, str(error), error.can_heal, tries=error.tries)
        return image

    async def _fetch(self, assigned: AssignedReplica) -> None:
        def told(done: int, total: int) -> None:
            message = f"fetching the code, {done / 1e6:.1f} of {total / 1e6:.1f} MB"
            self._feed(ev.PullProgressed(assigned.replica_id, done, total, message))

        if assigned.code_id:
            await self._code.fetch(assigned.code_id, told)

    async def _pull_image(self, replica_id: str, assigned: AssignedReplica) -> ev.WorkEvent:
        image = assigned.image
        try:
            is_here = await self._engine.has_image(image)
            if is_here and not assigned.always_pull:
                return ev.ImageReady(replica_id)
            may_stay_local = is_here and not has_registry(image)
            try:
                await self._engine.pull(
                    image,
                    assigned.registry_auth,
                    lambda done, total: self._feed(ev.PullProgressed(replica_id, done, total)),
                    LOCAL_PULL_STALL_S if may_stay_local else PULL_STALL_S,
                )
            except (ImageNotFound, RegistryUnreachable) as error:
                if not may_stay_local:
                    raise
                why = "no registry has it" if isinstance(error, ImageNotFound) else "its registry cannot be reached"
                return ev.ImageReady(replica_id, f"uses the local image {image}: {why}")
            return ev.ImageReady(replica_id)
        except EngineError as error:
            said = str(error)
            if assigned.image_hint and isinstance(error, ImageNotFound | RegistryUnreachable):
                said = (
                    f"image {image} is neither on this host nor in a registry that it can reach; {assigned.image_hint}"
                )
            return ev.PullFailed(replica_id, said, error.can_heal, tries=_tries(error))

    async def _start(self, replica_id: str, assigned: AssignedReplica) -> ev.WorkEvent:
        name = container_name(replica_id)
        try:
            container = await self._engine.inspect(name)
            if container is not None and container.is_running:
                return ev.ContainerStarted(replica_id, container)
            if container is None and not assigned.secrets_known:
                why = "its container is gone, and without the server its env values are not known"
                return ev.StartFailed(replica_id, why, can_heal=True)
            if refused := await self._refused(assigned):
                return ev.AdmissionRefused(replica_id, refused)
            if container is None:
                await self._engine.create(container_spec(assigned, self._server_id))
            if assigned.code_id and (container is None or not container.was_started):
                await self._lay(name, assigned)
            # One that has ended already is told as started all the same: the look after each start sees its end.
            return ev.ContainerStarted(replica_id, await self._engine.start(name))
        except GpuRefused as error:
            await self._remove_unused(name)
            return ev.AdmissionRefused(replica_id, str(error))
        except EngineError as error:
            return ev.StartFailed(replica_id, str(error), error.can_heal, tries=_tries(error))
        except CodeError as error:
            return ev.StartFailed(replica_id, str(error), error.can_heal, tries=error.tries)

    async def _refused(self, assigned: AssignedReplica) -> str:
        """Why its GPUs are not for it now; empty: they are."""
        if self._admission is None or not assigned.gpu_uuids:
            return ""
        return await self._admission.ask(
            assigned, lambda message: self._feed(ev.AdmissionAwaited(assigned.replica_id, message))
        )

    async def _remove_unused(self, name: str) -> None:
        """A container that never ran holds nothing that anybody wants; one that did keeps its logs until it is removed."""
        with suppress(EngineError):
            container = await self._engine.inspect(name)
            if container is not None and not container.was_started:
                await self._engine.remove(name)

    async def _lay(self, name: str, assigned: AssignedReplica) -> None:
        """Put the code in a container that never ran; also in one where a process before us may have ended half-way."""
        try:
            await self._fetch(assigned)
            await self._code.lay(self._engine, name, assigned.code_id)
        except (EngineError, CodeError):
            # It takes room, and has half of its code. Without the secrets it could not be made anew: then it stays, and
            # the next try lays all of it again.
            if assigned.secrets_known:
                with suppress(EngineError):
                    await self._engine.remove(name)
            raise

    async def _restart(self, order: do.RestartContainer) -> ev.WorkEvent:
        try:
            await self._engine.stop(container_name(order.replica_id), order.grace_s)
        except EngineError as error:
            return ev.StartFailed(order.replica_id, str(error), error.can_heal)
        return await self._start(order.replica_id, order.assigned)

    async def _stop(self, order: do.StopContainer) -> ev.WorkEvent:
        try:
            container = await self._engine.stop(container_name(order.replica_id), order.grace_s)
        except EngineError as error:
            return ev.StopFailed(order.replica_id, str(error))
        if container is None:
            return ev.ContainerStopped(order.replica_id, None)
        tail = await self._log_tail(container.id) if order.with_logs else ()
        return ev.ContainerStopped(order.replica_id, container.exit_code, tail)

    async def _remove(self, replica_id: str) -> ev.WorkEvent:
        name = container_name(replica_id)
        note = await self._archive.keep(self._engine, name, replica_id) if self._archive else ""
        try:
            await self._engine.remove(name)
        except EngineError as error:
            return ev.RemoveFailed(replica_id, str(error))
        return ev.ContainerRemoved(replica_id, note)

    async def _log_tail(self, container: str) -> tuple[str, ...]:
        lines: list[str] = []
        with suppress(EngineError):  # a failure without its last lines is still a failure to tell
            async with self._engine.logs(container, tail=LOG_TAIL_LINES, since_s=0, follow=False) as found:
                lines = [line.text[:_LOG_LINE_BYTES].decode("utf-8", "replace") async for line in found]
        return tuple(lines[-LOG_TAIL_LINES:])


def _tries(error: EngineError) -> int:
    """How often a failure of a first start may come. Docker's own absence says nothing about the replica: no number."""
    if isinstance(error, RegistryUnreachable):
        return restarts.PULLS_BEFORE_READY
    return restarts.EXITS_BEFORE_READY if isinstance(error, NoSpace) or type(error) is EngineError else 0
