"""ssh/access: what is kept of it is read again, and shows no secret."""

from homeport_protos.ssh.access import Access

ACCESS = Access("KEY", "ssh-ed25519 AAAA", "sudo-secret", Access("JUMP-KEY", "ssh-rsa BBBB"))


def test_what_was_written_is_read_again() -> None:
    assert Access.from_json(ACCESS.to_json()) == ACCESS


def test_secrets_are_not_shown() -> None:
    for secret in ("KEY", "sudo-secret"):
        assert secret not in repr(ACCESS)
