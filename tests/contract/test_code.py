"""Code in real containers: whose it is, what a program may do with it, and what stays when it is started again.

Covers laying on the real Docker, over images made here. See also tests/unit/agent/code for the same on the fake.
"""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.code import Trees, contents_of, manifest_of, sha256
from homeport_agent.code import lay
from homeport_agent.code.base import NoRoom
from homeport_agent.code.cache import CodeCache
from homeport_agent.code.room import CodeRoom
from homeport_agent.engine.base import LABEL_REPLICA, LABEL_SERVER, ContainerSpec
from homeport_agent.engine.docker import DockerEngine
from homeport_protos.code import code_id

BUILD = Path(__file__).parents[1] / "rig" / "images" / "build.py"
SHELL = "homeport-test/busybox:1"
RUN_ID = uuid.uuid4().hex[:12]
SERVER = f"code-{RUN_ID}"
OWN = f"homeport-test/workflow-{RUN_ID}"  # an image with a user and a /workflow of its own
RECIPE = f"""
FROM {SHELL}
RUN mkdir /workflow /workflow/deep && echo image > /workflow/image.txt && echo image > /workflow/a.py \\
 && echo worker:x:1000:1001::/:/bin/sh >> /etc/passwd && mkdir /srv && chmod 700 /srv
USER worker
"""
TREES: Trees = {"/workflow": {"a.py": b"code\n", "deep/b.py": b"deep\n", "link": "a.py", "run.sh": b"echo ran\n"}}
pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(os.environ.get("HOMEPORT_TEST_NO_DOCKER") == "1", reason="HOMEPORT_TEST_NO_DOCKER=1"),
]


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    subprocess.run([sys.executable, str(BUILD)], check=True, timeout=120)
    build = ["/usr/bin/docker", "build", "-q", "-t", OWN, "-"]
    subprocess.run(build, input=RECIPE, text=True, check=True, timeout=120, stdout=subprocess.DEVNULL)
    yield OWN
    subprocess.run(["/usr/bin/docker", "rmi", "-f", OWN], check=True, timeout=60, stdout=subprocess.DEVNULL)


@pytest.fixture
async def engine(image: str) -> AsyncIterator[DockerEngine]:
    made = DockerEngine()
    try:
        yield made
        for left in await made.list(((LABEL_SERVER, SERVER),)):
            await made.remove(left.id)
    finally:
        await made.close()


class Rig:
    def __init__(self, engine: DockerEngine, cache: CodeCache) -> None:
        self.engine = engine
        self._cache = cache

    async def laid(self, script: str, trees: Trees = TREES, replica: str = "a", **values: object) -> str:
        """A container with the code in it that would run this script."""
        manifest = manifest_of(trees, mode=0o755)
        for content in contents_of(trees).values():
            self._cache.receive(sha256(content), len(content)).add(content, is_last=True)
        self._cache.keep_manifest(code_id(manifest), manifest)
        labels = ((LABEL_SERVER, SERVER), (LABEL_REPLICA, replica))
        defaults = {"image": SHELL, "command": ("sh", "-c", script)}
        spec = ContainerSpec(f"homeport-{SERVER}-{replica}", labels, **(defaults | values))  # type: ignore[arg-type]
        container = await self.engine.create(spec)
        await lay.lay(self.engine, container, code_id(manifest), self._cache)
        return container

    async def ran(self, container: str) -> list[str]:
        """Start it, wait for its end, and what it has said since its first start."""
        await self.engine.start(container)
        async with asyncio.timeout(20):
            async with self.engine.logs(container, tail=-1, since_s=0, follow=True) as lines:
                return [line.text.decode() async for line in lines]


@pytest.fixture
def rig(engine: DockerEngine, tmp_path: Path) -> Rig:
    return Rig(engine, CodeCache(tmp_path))


async def test_an_image_without_a_workflow_gets_one(rig: Rig) -> None:
    container = await rig.laid("cd /workflow && cat a.py deep/b.py link && ./run.sh; stat -c '%a %u:%g %n' . deep a.py")
    said = await rig.ran(container)
    assert said[:4] == ["code", "deep", "code", "ran"]
    assert said[4:] == ["755 0:0 .", "755 0:0 deep", "755 0:0 a.py"]


async def test_the_user_of_the_image_may_write_beside_the_files_of_the_image(rig: Rig) -> None:
    script = "cd /workflow && cat image.txt a.py && echo new > n && echo more >> a.py && cat n a.py; id -u"
    script += "; stat -c %u:%g . deep n"
    said = await rig.ran(await rig.laid(script, image=OWN))
    assert said == ["image", "code", "new", "code", "more", "1000", "1000:1001", "1000:1001", "1000:1001"]


@pytest.mark.parametrize(
    ("user", "expected"), [("4242:77", "4242:77"), ("nobody", "65534:65534"), ("1000", "1000:1001")]
)
async def test_a_user_that_the_service_names_may_write(rig: Rig, user: str, expected: str) -> None:
    said = await rig.ran(await rig.laid("cd /workflow && touch new && stat -c %u:%g . a.py", image=OWN, user=user))
    assert said == [expected, expected]


async def test_a_file_for_a_folder_of_the_image_leaves_that_folder_alone(rig: Rig) -> None:
    trees: Trees = {"/etc": {"app.conf": b"x\n"}, "/srv/new/conf": {"y": b"y\n"}}
    said = await rig.ran(
        await rig.laid("stat -c '%a %u %n' /etc/app.conf /srv /srv/new /srv/new/conf; ls /etc", trees, user="nobody")
    )
    assert said[0] == "755 65534 /etc/app.conf"
    assert "passwd" in said


async def test_two_replicas_do_not_see_what_the_other_writes(rig: Rig) -> None:
    script = "cd /workflow && cat a.py && echo $0 > a.py && cat a.py"
    first, second = await rig.laid(script, replica="a"), await rig.laid(script, replica="b")
    assert await rig.ran(first) == ["code", "sh"]
    assert await rig.ran(second) == ["code", "sh"]


async def test_a_start_in_place_keeps_what_was_written(rig: Rig) -> None:
    container = await rig.laid("cd /workflow && echo again >> a.py && cat a.py")
    assert await rig.ran(container) == ["code", "again"]
    assert await rig.ran(container) == ["code", "again", "code", "again", "again"]


async def test_laying_again_into_a_container_that_never_ran_changes_nothing(rig: Rig, tmp_path: Path) -> None:
    container = await rig.laid("cd /workflow && cat a.py deep/b.py link")
    await lay.lay(rig.engine, container, code_id(manifest_of(TREES, mode=0o755)), CodeCache(tmp_path))
    assert await rig.ran(container) == ["code", "deep", "code"]


async def test_the_host_path_under_a_volume_is_not_written(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    (data / "b.py").write_text("host's\n")
    owner = (data.stat().st_uid, data.stat().st_mode)
    container = await rig.laid("cat /workflow/deep/b.py", user="4242", binds=((str(data), "/workflow/deep"),))
    assert await rig.ran(container) == ["host's"]
    assert [it.name for it in data.iterdir()] == ["b.py"]
    assert (data.stat().st_uid, data.stat().st_mode) == owner


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "homeport-test", str(tmp_path)], check=True)
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_told_with_what_to_do(small_disk: Path) -> None:
    room = CodeRoom(small_disk, lambda: pytest.fail("nobody is asked"))
    incoming = CodeCache(small_disk).receive(sha256(b""), 10**6)
    with pytest.raises(OSError, match="No space") as caught:
        incoming.add(bytes(10**6), is_last=False)
    incoming.drop()
    meant = room.meant(caught.value)
    assert isinstance(meant, NoRoom)
    assert str(meant).startswith("no space left on device while keeping the code (")
