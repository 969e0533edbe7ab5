"""fleets/keys: the caller's private keys, of all kinds, with a passphrase asked for once."""

import subprocess
from pathlib import Path

import pytest
from homeport_cli.errors import UsageError
from homeport_cli.fleets.keys import TRIES, Keys


def make(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)], check=True)
    return path


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_each_kind_is_read(tmp_path: Path, kind: str) -> None:
    file = make(tmp_path / "k", kind)
    blob = Keys(interactive=False).load(str(file)).export_public_key("openssh").split()[1]
    assert blob == (tmp_path / "k.pub").read_bytes().split()[1]


def test_a_passphrase_is_asked_for_once_and_again_when_it_is_wrong(tmp_path: Path) -> None:
    file = str(make(tmp_path / "k", passphrase="right"))
    answers = ["wrong", "right"]
    keys = Keys(interactive=True, ask=lambda question: answers.pop(0))
    keys.load(file)
    keys.load(file)
    assert answers == []


def test_after_some_tries_it_gives_up(tmp_path: Path) -> None:
    asked: list[str] = []
    keys = Keys(interactive=True, ask=lambda question: asked.append(question) or "wrong")
    with pytest.raises(UsageError, match="that is not its passphrase"):
        keys.load(str(make(tmp_path / "k", passphrase="right")))
    assert len(asked) == TRIES


def test_nobody_to_ask_no_file_and_no_key_are_one_line_each(tmp_path: Path) -> None:
    keys = Keys(interactive=False)
    with pytest.raises(UsageError, match="nobody to ask for its passphrase: add it to the SSH agent"):
        keys.load(str(make(tmp_path / "k", passphrase="right")))
    with pytest.raises(UsageError, match="no such file"):
        keys.load(str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="is no private key that we know"):
        keys.load(str(tmp_path / "text"))
