"""The Python client end to end: examples/hello is applied, called, followed, updated and stopped, by both of its classes."""

import shutil
import subprocess
from contextlib import aclosing
from pathlib import Path

import pytest
import yaml
from fixtures.clients import aclient
from homeport import Failed
from rig.stack import Stack
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]
HELLO = Path(__file__).resolve().parents[2] / "examples" / "hello"
SERVED_S = 60.0


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """The example in a folder of its own: its folder goes along, and here that would be this whole repository."""
    subprocess.run([HELLO / "build-image.sh"], check=True, timeout=120)
    return Path(shutil.copytree(HELLO, tmp_path / "hello"))


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_hello_is_applied_followed_updated_and_stopped(
    homeport: Stack, hello: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_CONFIG", homeport.environment["HOMEPORT_CONFIG"])
    async with aclient(kind) as client:  # the server and token of `homeport login`
        run = await client.apply(hello / "hello.homeport.yml", within_s=SERVED_S)
        assert (run.name, run.rolled_out) == ("hello", True)
        assert run.url.startswith("http://hello.localhost:")
        status, _, body = get(homeport.gateway_port, "hello", token=homeport.token)
        assert (status, body.startswith(b"Hello from Homeport: replica 0")) == (200, True)

        document = yaml.safe_load((hello / "hello.homeport.yml").read_text())
        document["commands"] = ["echo once more", "exec serve"]
        planned = await client.plan(document)
        assert (planned.action, planned.how) == ("update", "rolling")
        updated = await client.apply(document, plan=planned, within_s=SERVED_S)
        assert (updated.revision, updated.rolled_out) == (run.revision + 1, True)
        async with aclosing(client.logs("hello", follow=True)) as lines:
            line = await anext(lines)
        assert (line.text, line.stream, line.revision) == ("once more", "stdout", updated.revision)
        assert (await client.metrics("hello")).replicas

        await client.stop("hello", within_s=SERVED_S)
        assert (await client.run("hello")).state == "terminated"
        told = [event.sentence async for event in client.events(kind="run", name="hello")]
        assert any("stop" in sentence for sentence in told)


async def test_a_service_that_does_not_start_raises_why_with_the_end_of_its_log(
    homeport: Stack, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_CONFIG", homeport.environment["HOMEPORT_CONFIG"])
    document = {**yaml.safe_load((hello / "hello.homeport.yml").read_text()), "name": "broken", "retry": False}
    async with aclient("async") as client:
        with pytest.raises(Failed, match="the run broken failed: ") as caught:
            await client.apply({**document, "commands": ["echo it is broken", "exit 3"]}, within_s=SERVED_S)
    assert "it is broken" in caught.value.log_tail
