"""store/changes: a signal is never lost between two waits, and reaches only who asked for its topic."""

from homeport_control.store.changes import Changes


async def test_a_change_before_the_wait_is_seen_by_it() -> None:
    changes = Changes()
    with changes.subscribe("runs", "hosts") as subscription:
        changes.publish({"hosts", "tokens"})
        changes.publish({"runs"})
        assert await subscription.wait(0)
        assert not await subscription.wait(0), "two changes before one look are one look"


async def test_other_topics_and_ended_subscriptions_hear_nothing() -> None:
    changes = Changes()
    with changes.subscribe("runs") as subscription:
        changes.publish({"hosts"})
        changes.publish(())
        assert not await subscription.wait(0)
    changes.publish({"runs"})
    assert not await subscription.wait(0)
