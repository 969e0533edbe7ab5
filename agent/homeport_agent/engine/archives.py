"""Files in and out of a container by Docker's archive calls; blocking, each in a thread of the engine's.

Covers the calls. What lies at a path is told by Docker with Go's file modes. Does not cover what is put (code.lay)
nor what other errors mean (faults).
"""

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any

import docker
import requests
from docker.errors import APIError, NotFound

from homeport_agent.engine import faults
from homeport_agent.engine.base import EngineError, PathKind

READ_BYTES = 1 << 20  # a passwd file is small; one that is not is not read
PUT_STALL_S = 60.0  # Docker takes no byte, or says nothing after the last one
_GO_FOLDER, _GO_SYMLINK = 1 << 31, 1 << 27
_MAX_LINKS = 8


def path_kind(client: docker.APIClient, container: str, path: str) -> PathKind:
    stat = _stat(client, container, path)
    if stat is None:
        return PathKind.NOTHING
    mode = int(stat["mode"])
    if mode & _GO_SYMLINK:
        return PathKind.SYMLINK
    return PathKind.FOLDER if mode & _GO_FOLDER else PathKind.FILE


def read_file(client: docker.APIClient, container: str, path: str) -> bytes | None:
    for _ in range(_MAX_LINKS):
        stat = _stat(client, container, path)
        if stat is None or int(stat["mode"]) & _GO_FOLDER or int(stat["size"]) > READ_BYTES:
            return None
        if not int(stat["mode"]) & _GO_SYMLINK:
            return _content(client, container, path)
        path = str(stat["linkTarget"])
    return None


class Pieces:
    """An archive on its way to Docker. Keeps what it raised, since the HTTP client hides it; can be called off."""

    def __init__(self, archive: Iterable[bytes]) -> None:
        self._archive = archive
        self.error: Exception | None = None
        self.is_called_off = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._archive:
                if self.is_called_off:
                    raise EngineError("called off")
                yield piece
        except Exception as error:
            self.error = error
            raise


def put(client: docker.APIClient, container: str, pieces: Pieces, data_root: str) -> None:
    """Raises EngineError, NotFound, or what the archive raised."""
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    headers = {"Content-Type": "application/x-tar"}
    try:
        response = client.put(url, params={"path": "/"}, data=iter(pieces), headers=headers, timeout=PUT_STALL_S)
    except requests.exceptions.Timeout:
        raise
    except Exception as error:
        if pieces.error is not None:
            raise pieces.error from None
        # Docker hangs up on an archive that it cannot go on with; its disk is the usual reason.
        if isinstance(error, requests.exceptions.ConnectionError) and faults.is_full(data_root):
            raise faults.no_space(data_root, "laying files in a container") from None
        raise
    with response:
        if response.status_code < 400:
            return
        text = _message(response)
        if response.status_code == 404 and "no such container" in text.lower():
            raise NotFound(text, response, text)
        raise faults.of_put(text, data_root)


def _stat(client: docker.APIClient, container: str, path: str) -> dict[str, Any] | None:
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    with client.head(url, params={"path": path}, timeout=client.timeout) as response:
        if response.status_code == 404:
            # A HEAD has no body that says what there is none of: the container, or the path in it.
            client.inspect_container(container)
            return None
        if response.status_code >= 400:
            raise APIError(f"HTTP {response.status_code} about {path}", response)
        stat: dict[str, Any] = json.loads(base64.b64decode(response.headers["X-Docker-Container-Path-Stat"]))
        return stat


def _content(client: docker.APIClient, container: str, path: str) -> bytes | None:
    url = f"{client.base_url}/v{client.api_version}/containers/{container}/archive"
    with client.get(url, params={"path": path}, timeout=client.timeout) as response:
        if response.status_code >= 400:
            return None
        with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
            first = archive.next()
            file = archive.extractfile(first) if first is not None and first.isreg() else None
            return file.read() if file is not None else None


def _message(response: Any) -> str:
    try:
        return str(response.json().get("message", response.text))
    except ValueError:
        return str(response.text)
