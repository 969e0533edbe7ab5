from fakes.agent import container, replica
from homeport_agent import silence


def test_an_existing_container_is_started_again_without_the_server() -> None:
    assert silence.why_not_start(replica(secrets_known=False), "c-1") is None


def test_a_new_container_needs_the_secrets_that_only_the_server_has() -> None:
    assert silence.why_not_start(replica(secrets_known=True), "") is None
    assert "waits for the server" in (silence.why_not_start(replica(secrets_known=False), "") or "")


def test_nothing_is_removed_before_the_server_was_heard() -> None:
    assert not silence.may_remove(container("x"), frozenset(), server_heard=False)
    assert silence.may_remove(container("x"), frozenset(), server_heard=True)
    assert not silence.may_remove(container("x"), frozenset({"x"}), server_heard=True)
