"""The engine port over the Docker SDK.

Covers calls, each in a bounded thread pool with a deadline, because Docker can hang. Does not cover what its errors
mean (faults) nor what to do with a container (replica, runner).
"""

import asyncio
import functools
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import docker
from docker.auth import encode_header
from docker.errors import APIError, ImageNotFound, NotFound
from docker.types import DeviceRequest, LogConfig
from docker.utils import parse_repository_tag

from homeport_agent.engine import archives, faults, gpu_request, signals
from homeport_agent.engine.base import (
    LABEL_INDEX,
    LABEL_PORT,
    LABEL_REPLICA,
    LABEL_REVISION,
    LABEL_RUN,
    ContainerSpec,
    EngineError,
    EngineEvent,
    EngineHung,
    EngineInfo,
    Ground,
    NoSuchContainer,
    PathKind,
    PullProgress,
    RegistryUnreachable,
)
from homeport_agent.engine.loglines import log_lines
from homeport_agent.engine.ports import listening_ports
from homeport_agent.engine.pulls import PullLedger
from homeport_agent.engine.stream import ThreadStream
from homeport_agent.engine.usage import usage_of
from homeport_agent.model import Container, LogLine, RegistryAuth, Usage

CALL_S = 30.0  # what one answer of Docker may take
INFO_S = 10.0  # asked every few seconds: a Docker that hangs should be known as such soon
CREATE_S = 120.0  # a big image on a slow disk is unpacked into its first layer here
KILL_S = 15.0  # SIGKILL was sent; what is left after that is a process in uninterruptible sleep
PUT_S = 600.0  # 200 MB of code on a slow disk
USAGE_S = 4.0
CALL_THREADS = 8
STREAM_THREADS = 40  # pulls, followed logs and the one stream of events; a thread that only reads costs little
LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}  # 30 MB for each container, whatever it writes
LOG_AHEAD_BYTES = 256 * 1024  # read from Docker before a reader asks for it
WATCHED = ("start", "die", "oom", "destroy")

Answer = TypeVar("Answer")


class DockerEngine:
    """The Docker engine behind one socket. Nothing is opened before the first call."""

    def __init__(self, socket_path: str = "/var/run/docker.sock", info_s: float = INFO_S) -> None:
        self._socket_path = socket_path
        self._info_s = info_s
        self._calls = ThreadPoolExecutor(CALL_THREADS, "docker-call")
        self._streams = ThreadPoolExecutor(STREAM_THREADS, "docker-stream")
        self._client: docker.APIClient | None = None
        self._data_root = "/var/lib/docker"
        self._gpu_ways: gpu_request.GpuWays | None = None  # as of the last info

    # --- calls ---

    async def info(self) -> EngineInfo:
        answer, api_version = await self._call(lambda client: (client.info(), client.api_version), self._info_s)
        # Docker looked for the hook when it started, on a PATH like ours.
        self._gpu_ways = gpu_request.ways_of(answer, api_version, shutil.which(gpu_request.HOOK) is not None)
        self._data_root = answer.get("DockerRootDir") or self._data_root
        return EngineInfo(version=str(answer.get("ServerVersion", "")), data_root=self._data_root)

    async def images(self) -> tuple[str, ...]:
        listed = await self._call(lambda client: client.images())
        return tuple(sorted({tag for it in listed for tag in it.get("RepoTags") or () if not tag.startswith("<none>")}))

    async def has_image(self, image: str) -> bool:
        try:
            await self._call(lambda client: client.inspect_image(image))  # type: ignore[no-untyped-call]
        except NoSuchContainer:
            return False
        return True

    async def create(self, spec: ContainerSpec) -> str:
        if spec.gpu_uuids and self._gpu_ways is None:
            await self.info()
        request = gpu_request.request(spec.gpu_uuids, self._gpu_ways or gpu_request.GpuWays())
        answer = await self._call(functools.partial(_create, spec=spec, gpus=request), CREATE_S, of=spec.image)
        return str(answer["Id"])

    async def start(self, container: str) -> Container:
        shown = await self._call(lambda client: client.inspect_container(container))
        image = str(shown["Config"].get("Image", ""))
        await self._call(lambda client: client.start(container), CREATE_S, of=image)
        return _container(await self._call(lambda client: client.inspect_container(container)))

    async def inspect(self, container: str) -> Container | None:
        try:
            return _container(await self._call(lambda client: client.inspect_container(container)))
        except NoSuchContainer:
            return None

    async def stop(self, container: str, grace_s: float) -> Container | None:
        # Not Docker's own stop: that holds a thread for the whole grace, and a grace may be an hour.
        shown = await self.inspect(container)
        if shown is None or not shown.is_running:
            return shown
        if grace_s > 0 and await self._ask_to_end(container, shown):
            shown = await self._wait_end(container, grace_s)
        if shown is not None and shown.is_running:
            await self._signal(container, "SIGKILL")
            shown = await self._wait_end(container, KILL_S)
            if shown is not None and shown.is_running:
                raise EngineHung(f"container {container[:12]} does not die; Docker or its storage hangs")
        return shown

    async def _ask_to_end(self, container: str, shown: Container) -> bool:
        """Send the image's stop signal; False when nothing in the container can hear it."""
        raw = await self._call(lambda client: client.inspect_container(container))
        name = str(raw["Config"].get("StopSignal") or "SIGTERM")
        number = signals.number_of(name)
        if signals.is_caught(shown.pid, number):
            await self._signal(container, name)
            return True
        return signals.pass_on(shown.pid, number)

    async def _signal(self, container: str, signal: str) -> None:
        try:
            await self._call(lambda client: client.kill(container, signal))
        except EngineError as error:
            if "is not running" not in str(error) and not isinstance(error, NoSuchContainer):
                raise

    async def _wait_end(self, container: str, wait_s: float) -> Container | None:
        end_s, pause_s = time.monotonic() + wait_s, 0.02
        while True:
            shown = await self.inspect(container)
            left_s = end_s - time.monotonic()
            if shown is None or not shown.is_running or left_s <= 0:
                return shown
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, 0.5)

    async def remove(self, container: str) -> None:
        try:
            await self._call(lambda client: client.remove_container(container, v=True, force=True), CREATE_S)
        except EngineError as error:
            if not isinstance(error, NoSuchContainer) and "is already in progress" not in str(error):
                raise

    async def list(self, labels: tuple[tuple[str, str], ...]) -> tuple[Container, ...]:
        wanted = [LABEL_REPLICA, *(f"{key}={value}" for key, value in labels)]
        shown = await self._call(lambda client: client.containers(all=True, filters={"label": wanted}))
        found = [await self.inspect(str(row["Id"])) for row in shown]
        return tuple(it for it in found if it is not None)

    async def ground(self, container: str) -> Ground:
        shown = await self._call(lambda client: client.inspect_container(container))
        # Not its other volumes: an anonymous one of the image's is the container's own, and begins as what is put there.
        binds = [str(bind).split(":") for bind in shown["HostConfig"].get("Binds") or ()]
        return Ground(str(shown["Config"].get("User") or ""), tuple(it[1] for it in binds if len(it) > 1))

    async def path_kind(self, container: str, path: str) -> PathKind:
        kind = await self._call(lambda client: archives.path_kind(client, container, path))
        return PathKind(kind)

    async def read_file(self, container: str, path: str) -> bytes | None:
        data: bytes | None = await self._call(lambda client: archives.read_file(client, container, path))
        return data

    async def put(self, container: str, archive: Iterable[bytes]) -> None:
        pieces = archives.Pieces(archive)
        try:
            # Among the streams: the short calls must not wait behind an archive.
            await self._call(
                lambda client: archives.put(client, container, pieces, self._data_root), PUT_S, pool=self._streams
            )
        except EngineError:
            if pieces.error is not None:
                raise pieces.error from None
            raise
        finally:
            pieces.is_called_off = True  # a thread that nobody waits for any more ends with its next piece

    async def usage(self, container: str) -> Usage:
        stats = await self._call(functools.partial(_stats, container=container), USAGE_S)
        used = usage_of(stats)
        if used is None:
            raise EngineError("its container does not run")
        return used

    async def listening_ports(self, container: Container) -> tuple[int, ...]:
        return listening_ports(container.pid)

    async def close(self) -> None:
        self._calls.shutdown(wait=False, cancel_futures=True)
        self._streams.shutdown(wait=False, cancel_futures=True)

    # --- streams ---

    async def pull(self, image: str, auth: RegistryAuth | None, on_progress: PullProgress, stall_s: float) -> None:
        ledger = PullLedger()
        try:
            async with ThreadStream(self._streams, functools.partial(self._open_pull, image, auth)) as progress:
                while True:
                    try:
                        async with asyncio.timeout(stall_s):
                            event = await anext(progress)
                    except StopAsyncIteration:
                        break
                    if "error" in event:
                        # Docker says 200 first and its failure as the last event of the stream
                        raise faults.of_pull(image, str(event["error"]), self._data_root)
                    if ledger.note(event):
                        on_progress(ledger.done_bytes, ledger.total_bytes)
        except TimeoutError:
            raise RegistryUnreachable(
                f"pulling {image} stalled: nothing came for {stall_s:g} s; check the link to its registry"
            ) from None
        except APIError as error:
            raise faults.of_pull(image, str(error.explanation or error), self._data_root) from None
        except EngineError:
            raise
        except Exception as error:
            raise faults.of_call(error, self._socket_path) from None

    def _open_pull(self, image: str, auth: RegistryAuth | None) -> tuple[Any, Iterator[dict[str, Any]]]:
        name, tag = parse_repository_tag(image)
        credentials = {"username": auth.username, "password": auth.password} if auth else {}
        client = self._connect()
        response = client.post(
            _url(client, "/images/create"),
            params={"fromImage": name, "tag": tag or "latest"},
            headers={"X-Registry-Auth": encode_header(credentials)} if auth else {},
            stream=True,
            timeout=None,  # its events are watched instead: a big layer may be silent for longer than any answer
        )
        _raise_for_status(response)
        return response, (json.loads(line) for line in response.iter_lines(chunk_size=1024) if line.strip())

    @asynccontextmanager
    async def logs(
        self, container: str, *, tail: int, since_s: float, follow: bool, since_ns: int = 0
    ) -> AsyncIterator[AsyncIterator[LogLine]]:
        params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
        params["tail"] = "all" if tail < 0 else tail
        if since_s > 0:
            since_ns = max(since_ns, int((time.time() - since_s) * 1e9))
        if since_ns > 0:
            params["since"] = f"{since_ns // 10**9}.{since_ns % 10**9:09d}"

        def open_it() -> tuple[Any, Iterator[LogLine]]:
            client = self._connect()
            url = _url(client, f"/containers/{container}/logs")
            response = client.get(url, params=params, stream=True, timeout=None)
            _raise_for_status(response)
            return response, log_lines(response.raw)

        async with self._stream(open_it, weigh=_line_bytes, capacity=LOG_AHEAD_BYTES) as lines:
            yield lines

    @asynccontextmanager
    async def events(self, labels: tuple[tuple[str, str], ...]) -> AsyncIterator[AsyncIterator[EngineEvent]]:
        wanted = [LABEL_REPLICA, *(f"{key}={value}" for key, value in labels)]
        filters = json.dumps({"type": ["container"], "event": list(WATCHED), "label": wanted})

        def open_it() -> tuple[Any, Iterator[EngineEvent]]:
            client = self._connect()
            response = client.get(_url(client, "/events"), params={"filters": filters}, stream=True, timeout=None)
            _raise_for_status(response)
            return response, _engine_events(response)

        async with self._stream(open_it) as happened:
            yield happened

    @asynccontextmanager
    async def _stream(
        self, open_it: "Callable[[], tuple[Any, Iterator[Answer]]]", **bound: Any
    ) -> AsyncIterator[AsyncIterator[Answer]]:
        stream = ThreadStream(self._streams, open_it, **bound)
        try:
            items = await stream.__aenter__()
        except Exception as error:
            raise faults.of_call(error, self._socket_path) from None
        try:
            yield self._meant(items)
        finally:
            await stream.__aexit__(None, None, None)

    async def _meant(self, items: "AsyncIterator[Answer]") -> "AsyncIterator[Answer]":
        try:
            async for item in items:
                yield item
        except Exception as error:
            raise faults.of_call(error, self._socket_path) from None

    # --- the way to Docker ---

    def _connect(self) -> docker.APIClient:
        """In a thread: the client, made on first use, since making it asks the engine for its version."""
        if self._client is None:
            self._client = docker.APIClient(
                f"unix://{self._socket_path}",
                version="auto",
                timeout=int(CALL_S),
                num_pools=4,
                max_pool_size=CALL_THREADS,
            )
        return self._client

    async def _call(
        self,
        ask: Callable[[docker.APIClient], Any],
        limit_s: float = CALL_S,
        of: str | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> Any:
        """One answer of Docker. of: the image whose container is made or started, for the words of an error."""
        work = asyncio.get_running_loop().run_in_executor(pool or self._calls, lambda: ask(self._connect()))
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except TimeoutError:
            raise EngineHung(f"Docker did not answer within {limit_s:g} s; look at its log, or restart it") from None
        except (ImageNotFound, NotFound) as error:
            text = str(error.explanation or error)
            if of is not None and "no such container" not in text.lower():
                raise faults.of_container(of, text, self._data_root) from None
            raise NoSuchContainer(text) from None
        except APIError as error:
            if of is not None:
                raise faults.of_container(of, str(error.explanation or error), self._data_root) from None
            raise faults.of_call(error, self._socket_path) from None
        except Exception as error:
            raise faults.of_call(error, self._socket_path) from None


def _url(client: docker.APIClient, path: str) -> str:
    return f"{client.base_url}/v{client.api_version}{path}"


def _raise_for_status(response: Any) -> None:
    if response.status_code < 400:
        return
    try:
        text = str(response.json().get("message", response.text))
    except ValueError:
        text = response.text
    response.close()
    raise APIError(text, response, text)


def _stats(client: docker.APIClient, container: str) -> Any:
    # Older engines measure twice, a second apart, for a percentage that nobody asked for.
    one_shot = {"one-shot": 1} if tuple(map(int, client.api_version.split("."))) >= (1, 41) else {}
    url = _url(client, f"/containers/{container}/stats")
    response = client.get(url, params={"stream": 0, **one_shot}, timeout=USAGE_S)
    _raise_for_status(response)
    return response.json()


def _create(client: docker.APIClient, spec: ContainerSpec, gpus: gpu_request.GpuRequest) -> Any:
    for volume in spec.volumes:  # one that is there stays as it is
        client.create_volume(volume.name, labels=dict(volume.labels))
    host_config = client.create_host_config(
        binds=[f"{source}:{target}" for source, target in spec.binds],
        port_bindings={spec.port: ("127.0.0.1",)} if spec.port else {},
        restart_policy={
            "Name": "no"
        },  # the agent restarts: Docker's own policy knows no giving up and no back-off of ours
        log_config=LogConfig(type="json-file", config=LOG_OPTIONS),
        security_opt=["no-new-privileges"],
        privileged=spec.privileged,
        nano_cpus=int(min(spec.cpu_limit, os.cpu_count() or 1) * 1e9) or None,
        mem_limit=spec.memory_limit_mib * 2**20 or None,
        shm_size=spec.shm_size_mib * 2**20 or None,
        device_requests=[DeviceRequest(driver=gpus.driver, device_ids=list(gpus.device_ids), capabilities=[["gpu"]])]
        if gpus.device_ids
        else None,
    )
    return client.create_container(
        spec.image,
        command=list(spec.command) or None,
        entrypoint=list(spec.entrypoint) or None,
        environment=[f"{name}={value}" for name, value in gpu_request.environment(spec.env, spec.gpu_uuids)],
        working_dir=spec.working_dir or None,
        user=spec.user or None,
        ports=[spec.port] if spec.port else None,
        name=spec.name,
        labels=dict(spec.labels),
        host_config=host_config,
    )


def _container(shown: Any) -> Container:
    state, labels = shown["State"], shown["Config"].get("Labels") or {}
    networks = shown["NetworkSettings"].get("Networks") or {}
    published = shown["NetworkSettings"].get("Ports") or {}
    port = labels.get(LABEL_PORT, "")
    bound = published.get(f"{port}/tcp") or [binding for binding in published.values() if binding][:1]
    while bound and isinstance(bound[0], list):
        bound = bound[0]
    is_running = bool(state.get("Running"))
    was_started = not str(state.get("StartedAt", "")).startswith("0001-")
    return Container(
        id=str(shown["Id"]),
        replica_id=str(labels.get(LABEL_REPLICA, "")),
        is_running=is_running,
        was_started=was_started,
        exit_code=None if is_running or not was_started else int(state.get("ExitCode", 0)),
        oom_killed=bool(state.get("OOMKilled")),
        ip=next((str(it["IPAddress"]) for it in networks.values() if it.get("IPAddress")), ""),
        host_port=int(bound[0]["HostPort"]) if bound else 0,
        pid=int(state.get("Pid") or 0),
        run_name=str(labels.get(LABEL_RUN, "")),
        revision=_int(labels.get(LABEL_REVISION)),
        index=_int(labels.get(LABEL_INDEX)),
    )


def _int(text: Any) -> int:
    return int(text) if str(text or "").isdecimal() else 0


def _engine_events(response: Any) -> Iterator[EngineEvent]:
    yield EngineEvent("watching")
    for line in response.iter_lines(chunk_size=1):
        if line.strip():
            event = json.loads(line)
            yield EngineEvent(str(event.get("Action", "")), str(event["Actor"]["Attributes"].get(LABEL_REPLICA, "")))


def _line_bytes(line: LogLine) -> int:
    return len(line.text) + 200
