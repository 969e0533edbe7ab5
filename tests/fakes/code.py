"""Code for the tests of the agent: trees out of a dict, and a room of code that is steered by tests."""

import hashlib
from collections.abc import Mapping

from homeport_agent.code.base import CodeError, CodeProgress
from homeport_agent.engine.base import Engine
from homeport_protos.common.v1.code_pb2 import CodeEntry, CodeManifest, CodeTree

Trees = Mapping[str, Mapping[str, bytes | str]]  # target -> path -> content of a file, or where a symlink points


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest_of(trees: Trees, mode: int = 0o644) -> CodeManifest:
    def entry(path: str, what: bytes | str) -> CodeEntry:
        if isinstance(what, str):
            return CodeEntry(path=path, symlink=what)
        return CodeEntry(path=path, mode=mode, sha256=sha256(what), size=len(what))

    return CodeManifest(
        trees=[
            CodeTree(target=target, entries=[entry(path, files[path]) for path in sorted(files)])
            for target, files in sorted(trees.items())
        ]
    )


def contents_of(trees: Trees) -> dict[str, bytes]:
    return {sha256(it): it for files in trees.values() for it in files.values() if isinstance(it, bytes)}


class FakeCode:
    """Notes what was asked; `fails` are raised one after the other, by the next fetch or lay of that name."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fails: dict[str, list[CodeError]] = {"fetch": [], "lay": []}
        self.progress: tuple[int, int] | None = None

    async def fetch(self, code_id: str, on_progress: CodeProgress) -> None:
        self.calls.append(("fetch", code_id))
        if self.progress:
            on_progress(*self.progress)
        if self.fails["fetch"]:
            raise self.fails["fetch"].pop(0)

    async def lay(self, engine: Engine, container: str, code_id: str) -> None:
        self.calls.append(("lay", code_id))
        await engine.put(container, [bytes(1024)])
        if self.fails["lay"]:
            raise self.fails["lay"].pop(0)
