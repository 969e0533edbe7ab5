"""fleets/keys: the caller's private keys, of all kinds, with a passphrase asked for once."""

import subprocess
from pathlib import Path

import pytest
from homeport_cli.fleets.keys import TRIES, Keys
from homeport_protos.ssh.places import Place
from homeport_protos.ssh.reach import BadKey


def make(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_each_kind_is_read(tmp_path: Path, kind: str) -> None:
    file = make(tmp_path / "k", kind)
    blob = Keys(interactive=False).read(str(file)).export_public_key("openssh").split()[1]
    assert blob == (tmp_path / "k.pub").read_bytes().split()[1]


def test_a_passphrase_is_asked_for_once_and_again_when_it_is_wrong(tmp_path: Path) -> None:
    file = str(make(tmp_path / "k", passphrase="right"))
    answers = ["wrong", "right"]
    keys = Keys(interactive=True, ask=lambda question: answers.pop(0))
    keys.read(file)
    keys.read(file)
    assert answers == []


def test_after_some_tries_it_gives_up(tmp_path: Path) -> None:
    asked: list[str] = []
    keys = Keys(interactive=True, ask=lambda question: asked.append(question) or "wrong")
    with pytest.raises(BadKey, match="that is not its passphrase"):
        keys.read(str(make(tmp_path / "k", passphrase="right")))
    assert len(asked) == TRIES


def test_nobody_to_ask_no_file_and_no_key_are_one_line_each(tmp_path: Path) -> None:
    keys = Keys(interactive=False)
    with pytest.raises(BadKey, match="nobody to ask for its passphrase: add it to the SSH agent"):
        keys.read(str(make(tmp_path / "k", passphrase="right")))
    with pytest.raises(BadKey, match="no such file"):
        keys.read(str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadKey, match="is no private key that we know"):
        keys.read(str(tmp_path / "text"))


def test_a_place_without_a_file_is_the_ssh_agents(tmp_path: Path) -> None:
    keys = Keys(interactive=False)
    assert keys.load(Place("gpu-1", 22, "ops")) is None
    assert keys.load(Place("gpu-1", 22, "ops", str(make(tmp_path / "k")))) is not None
