"""fleets/hostkeys: who is trusted: by the caller's file, by ours, from the first time on."""

from pathlib import Path

import asyncssh
from homeport_cli.fleets.hostkeys import HostKeys

KEY, OTHER = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


def line(name: str, key: asyncssh.SSHKey) -> str:
    return f"{name} {key.export_public_key('openssh').decode()}"


def test_what_nobody_knows_is_not_trusted(tmp_path: Path) -> None:
    assert HostKeys(tmp_path / "own", tmp_path / "callers").trusted("gpu-1", 22) is None


def test_the_callers_file_is_believed_by_name_by_address_and_by_port(tmp_path: Path) -> None:
    (tmp_path / "callers").write_text(line("gpu-1,10.0.0.1", KEY) + line("[gpu-1]:2222", OTHER))
    known = HostKeys(tmp_path / "own", tmp_path / "callers")
    for host, port, key in (("gpu-1", 22, KEY), ("10.0.0.1", 22, KEY), ("gpu-1", 2222, OTHER)):
        trusted = known.trusted(host, port)
        assert trusted is not None
        assert {it.public_data for it in trusted[0]} == {key.public_data}
    assert known.trusted("gpu-2", 22) is None


def test_what_was_accepted_is_trusted_at_once_and_after_it_was_kept_by_the_next_run(tmp_path: Path) -> None:
    own = tmp_path / "folder" / "own"
    first = HostKeys(own, tmp_path / "callers")
    first.accept("gpu-1", 22, KEY)
    first.accept("gpu-1", 2222, OTHER)
    assert first.trusted("gpu-1", 22) is not None
    assert not own.exists()
    first.keep()
    first.keep()
    assert len(own.read_text().splitlines()) == 2
    trusted = HostKeys(own, tmp_path / "callers").trusted("gpu-1", 2222)
    assert trusted is not None
    assert [it.public_data for it in trusted[0]] == [OTHER.public_data]
    assert not (tmp_path / "callers").exists(), "the caller's own file is never written"
