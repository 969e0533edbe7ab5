"""web/server: the CA for those who pin it, a health check, and nothing else. Its TLS is in test_listeners."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from fixtures.asgi import asked
from homeport_control.domain.errors import BadRequest
from homeport_control.web.downloads import BUNDLE, Downloads, add_bundle, bundled_build
from homeport_control.web.server import web_app
from homeport_control.web.uv_program import UvProgram

PEM = b"-----BEGIN CERTIFICATE-----\n"
DOWNLOADS = Downloads(
    "1.2.3", b"#!/bin/sh\n", b"grpcio==1\n", "homeport-1.2.3-py3-none-any.whl", b"PK", Path("/nowhere"), 7401
)


async def ask(path: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    return await asked(web_app(PEM, DOWNLOADS), path, method)


async def test_the_ca_is_served_as_it_is() -> None:
    status, headers, body = await ask("/ca.pem")
    assert (status, headers[b"content-type"], body) == (200, b"application/x-pem-file", PEM)


async def test_it_says_that_it_is_there() -> None:
    status, _, body = await ask("/healthz")
    assert (status, body) == (200, b"ok\n")


@pytest.mark.parametrize("path", ["/", "/ca.key", "/ca.pem/../server.key", "/secret.key", "/docs"])
async def test_nothing_else_is_served(path: str) -> None:
    assert (await ask(path))[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_nothing_can_be_changed_there(method: str) -> None:
    assert (await ask("/ca.pem", method))[0] == 405


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/install.sh", b"#!/bin/sh\n"),
        ("/host/requirements.txt", b"grpcio==1\n"),
        ("/host/homeport-1.2.3-py3-none-any.whl", b"PK"),
    ],
)
async def test_a_host_gets_what_it_installs(path: str, content: bytes) -> None:
    status, _, body = await ask(path)
    assert (status, body) == (200, content)


async def test_the_manifest_names_what_is_served_by_its_content() -> None:
    status, _, body = await ask("/host/manifest")
    lines = dict(line.split(" ") for line in body.decode().splitlines())
    assert status == 200
    assert lines["wheel"] == "homeport-1.2.3-py3-none-any.whl"
    assert lines["build"] == DOWNLOADS.build
    assert lines["link_port"] == "7401"
    assert "bundle" not in lines
    for other in ({"script": b"x"}, {"requirements": b"x"}, {"wheel": b"x"}):
        assert replace(DOWNLOADS, **other).build != DOWNLOADS.build


async def test_without_uv_there_is_none_and_with_it_the_manifest_has_its_hash() -> None:
    assert (await ask("/host/uv.gz"))[0] == 404
    downloads = replace(DOWNLOADS, uv=UvProgram(Path("/nowhere"), "ab" * 32, "x86_64"))
    assert f"uv_x86_64 {'ab' * 32}\n" in downloads.manifest()
    assert downloads.build == DOWNLOADS.build, "how it is installed changes nothing of what is installed"


async def test_without_a_bundle_there_is_none(tmp_path: Path) -> None:
    assert (await ask("/host/bundle.tar.gz"))[0] == 404


@pytest.mark.parametrize(("build", "is_served"), [(DOWNLOADS.build, True), ("0123456789ab", False)])
def test_a_bundle_of_this_build_is_served_and_of_another_one_is_not(
    tmp_path: Path, build: str, is_served: bool
) -> None:
    bundle = tmp_path / "some.tar.gz"
    with tarfile.open(bundle, "w:gz") as archive:
        content = f"version 1.2.3\nbuild {build}\n".encode()
        member = tarfile.TarInfo("manifest")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    assert bundled_build(bundle) == build
    downloads = replace(DOWNLOADS, bundle=tmp_path / BUNDLE)
    if is_served:
        add_bundle(bundle, tmp_path, DOWNLOADS.build)
    else:
        with pytest.raises(BadRequest, match="holds the agent 0123456789ab, this server's is"):
            add_bundle(bundle, tmp_path, DOWNLOADS.build)
        (tmp_path / BUNDLE).write_bytes(bundle.read_bytes())  # left by an older server
    assert ("bundle yes\n" in downloads.manifest()) is is_served


def test_what_is_no_bundle_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    assert bundled_build(tmp_path / "text") == ""
    with pytest.raises(BadRequest, match="holds nothing that we know"):
        add_bundle(tmp_path / "text", tmp_path, DOWNLOADS.build)
