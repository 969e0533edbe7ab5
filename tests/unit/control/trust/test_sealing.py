"""trust/sealing: what is sealed opens with its key alone."""

import stat
from pathlib import Path

import pytest
from homeport_control.domain.errors import NotReady
from homeport_control.trust.sealing import Sealer


def test_the_same_key_opens_what_was_sealed_before(tmp_path: Path) -> None:
    file = tmp_path / "secret.key"
    sealed = Sealer.load_or_create(file).seal("pässword")
    assert Sealer.load_or_create(file).open(sealed) == "pässword"
    assert b"ssword" not in sealed
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_another_key_opens_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    sealed = Sealer.load_or_create(tmp_path / "first.key").seal("password")
    with pytest.raises(NotReady, match=r"put back the secret\.key") as caught:
        Sealer.load_or_create(tmp_path / "second.key").open(sealed)
    assert "password" not in str(caught.value)


def test_what_was_changed_does_not_open(tmp_path: Path) -> None:
    sealer = Sealer.load_or_create(tmp_path / "secret.key")
    sealed = bytearray(sealer.seal("password"))
    sealed[-10] ^= 1
    with pytest.raises(NotReady):
        sealer.open(bytes(sealed))


def test_a_key_file_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_bytes(b"half a ke")
    with pytest.raises(NotReady, match=r"secret\.key .*is damaged.*put back") as caught:
        Sealer.load_or_create(tmp_path / "secret.key")
    assert "half a ke" not in str(caught.value)
