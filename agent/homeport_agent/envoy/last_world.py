"""The last configuration that a gateway's Envoy has acknowledged, on this host's disk: with it Envoy starts when the
server is away.

Covers the value and its two files: the newest, and the one before it. Each carries its own checksum, so that a damaged one
is noticed and the other one is used. Private keys of certificates are in it: mode 0600, as the host's own key. Does not
cover how it comes here (last_keeper), nor who reads it (standby). Blocking calls: for a thread.
"""

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError
from homeport_protos.agent.v1 import discovery_pb2

from homeport_agent.files import sync_folder, write_atomically

FILE = "last.bin"
BEFORE = "last-before.bin"
_MAGIC = b"homeport last configuration 1 "

Resource = discovery_pb2.DiscoveredResource


@dataclass(slots=True)
class LastWorld:
    """Type -> name -> resource."""

    resources: dict[str, dict[str, Resource]] = field(default_factory=dict)
    saved_at_s: float = 0.0

    def of(self, type_url: str) -> dict[str, Resource]:
        return self.resources.setdefault(type_url, {})

    def take(self, response: discovery_pb2.DeltaResponse) -> None:
        of_type = self.of(response.type_url)
        for resource in response.resources:
            of_type[resource.name] = resource
        for name in response.removed:
            of_type.pop(name, None)

    def copy(self) -> "LastWorld":
        """For another thread. Resources themselves are never changed."""
        return LastWorld({type_url: dict(of_type) for type_url, of_type in self.resources.items()}, self.saved_at_s)

    def __bool__(self) -> bool:
        return any(self.resources.values())


def read(run_dir: Path) -> tuple[LastWorld, tuple[str, ...]]:
    """The newest that is whole, empty when there is none; and why a newer one is not used, a sentence each."""
    wrong: list[str] = []
    for name in (FILE, BEFORE):
        try:
            return _decoded((run_dir / name).read_bytes()), tuple(wrong)
        except FileNotFoundError:
            continue
        except OSError as error:
            wrong.append(f"the last configuration {run_dir / name} cannot be read: {error.strerror}")
        except ValueError as error:
            wrong.append(f"the last configuration {run_dir / name} is damaged: {error}")
    return LastWorld(), tuple(wrong)


def write(run_dir: Path, world: LastWorld, *, keep_before: bool = True) -> None:
    """Make it the newest. `keep_before`: the file that is there is whole. A folder that is gone is not made anew: OSError."""
    world.saved_at_s = time.time()
    message = discovery_pb2.LastWorld(saved_at_s=world.saved_at_s)
    for of_type in world.resources.values():
        message.resources.extend(of_type.values())
    body = message.SerializeToString()
    os.stat(run_dir)
    if keep_before and (run_dir / FILE).exists():
        (run_dir / FILE).replace(run_dir / BEFORE)
        sync_folder(run_dir)
    write_atomically(run_dir / FILE, _MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _decoded(data: bytes) -> LastWorld:
    """Raises ValueError."""
    head, newline, body = data.partition(b"\n")
    if not newline or not head.startswith(_MAGIC):
        raise ValueError("it does not begin as such a file does")
    if head[len(_MAGIC) :] != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its content does not fit its checksum")
    try:
        message = discovery_pb2.LastWorld.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    world = LastWorld(saved_at_s=message.saved_at_s)
    for resource in message.resources:
        world.of(resource.resource.type_url)[resource.name] = resource
    return world
